"""The rule for which network a file belongs to: for every published file an imitation of it, made
by our own network.

An imitation has the authors' key names and the shapes of their file; its tensors have no memory,
since the rule reads names, shapes and the counters of batch norms alone.
tests/cli/test_published_files.py does the same with values.
"""

import dataclasses
import json
from functools import cache

import pytest
import safetensors.torch
import torch

import spikedriven as sd
from spikedriven.errors import CheckpointError, InputError
from spikedriven.models import official_state_dict
from spikedriven.models.create import create_network, is_dense
from spikedriven.models.header import Provenance, header
from spikedriven.models.tags import find_file, list_files, stated_by
from spikedriven.runs.identify import identify, question
from spikedriven.runs.provenance import read_provenance

FILES = {file.full_name: file for file in list_files()}
#: What no source says of these files, and what the tests take for it.
OPEN = {
    "spikingformer_4_256_cifar.cifar10": {"num_heads": 8},
    "spikingformer_4_256_cifar.cifar100": {"num_heads": 8},
    "spikingformer_2_384_cifar.cifar10": {"num_heads": 12},
    "spikingformer_2_384_cifar.cifar100": {"num_heads": 8},
    "spikformer_8_384.in1k": {"num_heads": 12},
    "spikformer_8_768.in1k": {"num_heads": 12},
    "spike_mae_12_512.in1k": {"levels": 8},
    "spike_mae_12_768.in1k": {"levels": 4},
    "mask_rcnn.meta_spikeformer_15m_coco_t1": {"neuron": "integer", "levels": 4},
    "mask_rcnn.meta_spikeformer_55m_coco_t1": {"neuron": "integer", "levels": 4},
    "cascade_mask_rcnn.meta_spikeformer_15m_coco_t1": {"neuron": "integer", "levels": 4},
}


@cache
def imitation(full_name, **keywords):
    """A file's tensors by the authors' names: shapes, and counters of batches as after training."""
    with torch.device("meta"):
        tensors = official_state_dict(create_network(full_name, **keywords))
    return {
        key: torch.tensor(300_000) if key.endswith("num_batches_tracked") else value
        for key, value in tensors.items()
    }


@cache
def shapes(full_name, *keywords):
    with torch.device("meta"):
        model = create_network(full_name, **dict(keywords))
    return {key: value.shape for key, value in model.state_dict().items()}


# Every published file
# -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("full_name", FILES)
def test_a_tag_and_its_file_are_the_network(full_name):
    said = OPEN.get(full_name, {})
    found = identify(full_name, said, imitation(full_name, **said))
    assert found.full_name == full_name and not found.notes
    stated = stated_by(full_name)[1]
    assert found.keywords.items() >= (stated | said).items()
    built = shapes(
        full_name, *((k, v) for k, v in found.keywords.items() if not isinstance(v, dict))
    )
    assert built == shapes(full_name)


@pytest.mark.parametrize("full_name", [name for name in FILES if name not in OPEN])
def test_the_bare_name_asks_for_what_the_tag_says(full_name):
    name, _ = stated_by(full_name)
    with pytest.raises(InputError) as error:
        identify(name, {}, imitation(full_name), file="x.pth")
    asked = str(error.value)
    missing = [
        key
        for key in ("levels", "time_steps", "num_heads", "backbone")
        if f"--model.args.{key} VALUE" in asked
    ]
    assert missing and asked.startswith("x.pth: its tensors do not tell ")
    assert all(key in FILES[full_name].args for key in missing)
    assert full_name in asked  # and the files that it may be are named, this one among them


@pytest.mark.parametrize("full_name", OPEN)
def test_what_nobody_has_published_is_asked_even_with_a_tag(full_name):
    key, value = next(iter(OPEN[full_name].items()))
    with pytest.raises(InputError, match=rf"do not tell {key} of.*--model\.args\.{key} VALUE"):
        identify(full_name, {}, imitation(full_name, **{key: value}))


def test_levels_of_one_network_are_kept_apart():
    """A 1x8 file fits the network of 1x4: only the tag tells them apart."""
    file = imitation("e_spikeformer_83m.mae_in1k_1x8")
    for levels in (4, 8):
        found = identify(f"e_spikeformer_83m.mae_in1k_1x{levels}", {}, file)
        assert found.keywords["levels"] == levels
        assert found.origins["levels"] == f"the tag e_spikeformer_83m.mae_in1k_1x{levels}"
    assert identify("e_spikeformer_83m", {"levels": 2}, file).keywords["levels"] == 2


def test_the_question_names_the_known_values():
    text = question("x.pth", "e_spikeformer_171m", ["levels"], {})
    assert "--model.args.levels VALUE" in text
    assert "e_spikeformer_171m.mae_in1k_1x4" in text and "levels 4" in text and "levels 8" in text
    hundred = question("x.pth", "spikingformer_4_384_cifar", ["num_heads"], {"num_classes": 100})
    assert (
        "num_heads 8" in hundred and "num_heads 12" not in hundred
    )  # the file's classes leave no other


# What tensors tell
# ----------------------------------------------------------------------------------------------

#: What shapes tell of no family.
UNTOLD = ("levels", "time_steps", "released_time_axis")
TOLD = [
    ("sdt_2_256_cifar", {"neuron": "plif", "num_classes": 7, "time_steps": 4}),
    ("sdt_2_256_cifar", {"released_params": False, "in_chans": 1, "time_steps": 4}),
    ("sdt_2_256_cifar", {"embed_dim": 64, "depth": 3, "mlp_ratio": 1.5, "time_steps": 4}),
    ("sdt_2_256_cifar10dvs", {"num_heads": 4, "time_steps": 10}),
    ("spikingformer_2_384_cifar", {"released_params": False, "num_heads": 6, "time_steps": 4}),
    ("spikingformer_8_384", {"neuron": "plif", "num_heads": 8, "time_steps": 2}),
    ("spikformer_8_512", {"embed_dim": 64, "depth": 2, "num_heads": 4, "time_steps": 2}),
    ("spikformer_8_512", {"release": "cifar", "num_heads": 8, "time_steps": 4}),
    (
        "spikformer_2_256_dvs",
        {"released_params": False, "num_heads": 8, "time_steps": 10, "release": "cifar10-dvs"},
    ),
    ("qkformer_10_384", {"neuron": "plif", "time_steps": 4, "released_time_axis": True}),
    (
        "qkformer_10_384",
        {"release": "cifar", "mlp_ratio": 2, "time_steps": 4, "released_time_axis": True},
    ),
    (
        "qkformer_4_384_cifar",
        {
            "embed_dim": 64,
            "depths": (1, 0, 2),
            "mlp_ratio": 2,
            "time_steps": 4,
            "released_time_axis": False,
        },
    ),
    ("meta_spikeformer_15m", {"distilled": True, "neuron": "plif", "time_steps": 1}),
    (
        "meta_spikeformer_15m",
        {"embed_dims": (8, 16, 24, 32), "depths": (1, 2, 3, 0, 1), "time_steps": 1},
    ),
    ("e_spikeformer_5m", {"layer_scale": 1e-6, "mlp_ratio": 2, "levels": 4}),
    ("e_spikeformer_171m", {"embed_dims": (192, 384, 768), "distilled": True, "levels": 8}),
    ("e_spikeformer_83m", {"layer_scale": 0.0, "levels": 8}),
    ("e_spikeformer_hardvs_19m", {"num_classes": 5, "levels": 4, "time_steps": 8}),
    (
        "spike_mae_12_512",
        {"img_size": (32, 32), "decoder_dim": 64, "decoder_depth": 2, "levels": 8},
    ),
    ("spike_mae_12_512", {"released_params": False, "rep_branch": False, "levels": 8}),
]


@pytest.mark.parametrize(("name", "keywords"), TOLD)
@pytest.mark.parametrize("ours", [False, True])
def test_shapes_tell_keywords(name, keywords, ours):
    with torch.device("meta"):
        model = sd.create_model(name, **keywords)
        blank = sd.create_model(name)
    tensors = model.state_dict() if ours else official_state_dict(model)
    names = blank.official_names()
    untold = {key: keywords[key] for key in UNTOLD if key in keywords}
    if not name.startswith("sdt"):  # whose files hold a convolution as wide as there are heads
        untold |= {key: keywords[key] for key in ("num_heads",) if key in keywords}
    tensors = {
        key: torch.tensor(1) if "num_batches" in key else value for key, value in tensors.items()
    }
    found = identify(
        name,
        untold,
        {names.theirs(key): value for key, value in tensors.items()} if ours else tensors,
    )
    assert found.keywords.items() >= keywords.items()
    assert shapes(name, *found.keywords.items()) == {
        key: value.shape for key, value in model.state_dict().items()
    }


def test_a_further_branch_that_cannot_run_or_never_did_is_left_out():
    file = imitation("e_spikeformer_83m", levels=8)
    assert identify("e_spikeformer_83m", {"levels": 8}, file).keywords["rep_branch"] is True
    left_out = identify(
        "e_spikeformer_83m", {"levels": 8, "rep_branch": False}, file
    )  # the user may decide
    assert left_out.keywords["rep_branch"] is False
    wide = {
        k: v.new_empty(768) if ".rep_conv.conv1.1." in k and v.ndim else v for k, v in file.items()
    }
    assert identify("e_spikeformer_83m", {"levels": 8}, wide).keywords["rep_branch"] is False
    counters = ("rep_conv", "num_batches_tracked")
    idle = {
        k: torch.tensor(0) if all(word in k for word in counters) else v for k, v in file.items()
    }
    assert identify("e_spikeformer_83m", {"levels": 8}, idle).keywords["rep_branch"] is False
    without = {key: value for key, value in file.items() if "rep_conv" not in key}
    assert identify("e_spikeformer_83m.mae_in1k_1x8", {}, without).keywords["rep_branch"] is False


def test_other_widths_than_the_name_has_are_read_and_said():
    found = identify("sdt_8_512", {"time_steps": 4}, imitation("sdt_8_384"))
    assert found.keywords["embed_dim"] == 384
    assert found.notes == ("the file has embed_dim 384, where sdt_8_512 has 512",)


def test_an_image_size_may_be_one_number():
    file = imitation("spike_mae_12_512", img_size=(64, 64))
    assert (
        identify("spike_mae_12_512", {"levels": 8, "img_size": 64}, file).keywords["img_size"] == 64
    )
    assert identify("spike_mae_12_512", {"levels": 8}, file).keywords["img_size"] == (64, 64)
    with pytest.raises(CheckpointError, match="img_size"):
        identify("spike_mae_12_512", {"levels": 8, "img_size": 96}, file)


def test_a_file_that_is_no_network_of_ours_leaves_the_error_to_loading():
    assert identify("sdt_2_256_cifar", {"time_steps": 4}, {"weight": torch.zeros(3)}).keywords == {
        "time_steps": 4
    }


# Contradictions
# -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("full_name", "said", "file", "message"),
    [
        (
            "sdt_2_256_cifar.cifar10",
            {},
            ("sdt_2_256_cifar.cifar100",),
            "num_classes 100 by its tensors, 10 by the tag",
        ),
        (
            "sdt_8_512.in1k",
            {},
            ("sdt_8_384.in1k",),
            "embed_dim 384 by its tensors, 512 by the name",
        ),
        ("e_spikeformer_10m.in1k_1x4", {}, ("e_spikeformer_19m",), "embed_dims"),
        (
            "sdt_8_384.in1k",
            {"in_chans": 1},
            ("sdt_8_384",),
            "in_chans 3 by its tensors, 1 by the command line",
        ),
        (
            "e_spikeformer_5m",
            {"distilled": True},
            ("e_spikeformer_5m",),
            "distilled False by its tensors, True by",
        ),
    ],
)
def test_a_file_that_contradicts_what_is_said_is_refused(full_name, said, file, message):
    with pytest.raises(CheckpointError, match=f"x.pth is another network's: .*{message}"):
        identify(full_name, said, imitation(*file), file="x.pth")


def test_words_of_tag_and_header_must_agree_unless_the_user_decides():
    file = imitation("e_spikeformer_83m")
    beside = Provenance("e_spikeformer_83m", "mae_in1k_1x8", {"levels": 8}, where="its header")
    with pytest.raises(CheckpointError, match=r"its header says levels 8, the tag \S+_1x4 says 4"):
        identify("e_spikeformer_83m.mae_in1k_1x4", {}, file, beside)
    assert (
        identify("e_spikeformer_83m.mae_in1k_1x4", {"levels": 4}, file, beside).keywords["levels"]
        == 4
    )
    found = identify("e_spikeformer_83m", {}, file, beside)
    assert found.keywords["levels"] == 8 and found.full_name == "e_spikeformer_83m.mae_in1k_1x8"
    with pytest.raises(
        CheckpointError, match="says that it is of e_spikeformer_83m, not of e_spikeformer_171m"
    ):
        identify("e_spikeformer_171m", {}, file, beside)


# What is written beside the tensors
# -----------------------------------------------------------------------------


def test_a_header_is_read_back(tmp_path):
    said = Provenance(
        "spikingformer_4_384_cifar", "cifar100", {"num_heads": 8, "time_steps": 4}, "best.pth.tar"
    )
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(1)}, path, header(said))
    assert read_provenance(path) == dataclasses.replace(said, where="its header")
    safetensors.torch.save_file({"x": torch.zeros(1)}, path)
    assert read_provenance(path) is None


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"name": 3, "tag": "", "args": {}, "converted_from": ""}', "{}"]
)
def test_a_damaged_header_is_one_message(tmp_path, content):
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(1)}, path, {"spikedriven": content})
    with pytest.raises(
        CheckpointError, match=r"w\.safetensors: what its header says of the network cannot be read"
    ):
        read_provenance(path)


def test_headers_are_plain_json():
    text = header(Provenance("sdt_8_384", args={"img_size": (224, 224)}))["spikedriven"]
    assert json.loads(text)["args"] == {"img_size": [224, 224]}


def test_dense_names_are_told_apart():
    assert is_dense("mask_rcnn.e_spikeformer_10m_coco") and not is_dense("sdt_8_384.in1k")
    assert find_file("semantic_fpn.e_spikeformer_19m_ade20k").args["width"] == 128
