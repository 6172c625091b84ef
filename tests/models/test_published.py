"""The published files: each tag can be built, holds what its source says, and says where it is
from.
"""

import pytest
import torch

import spikedriven as sd
from spikedriven.data import find_set
from spikedriven.errors import InputError
from spikedriven.models.base import SpikeDrivenModel
from spikedriven.models.create import create_network
from spikedriven.models.registry import variant_of
from spikedriven.models.tags import TASKS, find_file, list_files, register_files
from spikedriven.neurons import IntegerNeuron

FILES = {file.full_name: file for file in list_files()}

AS_RELEASED = {"time_steps": 4, "released_time_axis": True}
#: What the authors' pages and configurations say: keywords, (C, H, W), crop, interpolation, figure.
SAID = {
    "sdt_8_384.in1k": ({"time_steps": 4}, (3, 224, 224), 0.95, "bicubic", "72.28"),
    "sdt_8_768.in1k_288": ({"time_steps": 4}, (3, 288, 288), 0.9, "bilinear", "77.07"),
    "sdt_2_512_cifar.cifar100": (
        {"time_steps": 4, "num_classes": 100},
        (3, 32, 32),
        1.0,
        "bicubic",
        "",
    ),
    "sdt_2_256_gesture.gesture_t10": (
        {"time_steps": 10, "num_classes": 11},
        (2, 128, 128),
        1.0,
        "bilinear",
        "",
    ),
    "sdt_2_256_cifar10dvs.cifar10dvs_t10_tet": (
        {"time_steps": 10},
        (2, 64, 64),
        1.0,
        "bilinear",
        "",
    ),
    "spikingformer_8_768.in1k": (
        {"time_steps": 4, "num_heads": 8},
        (3, 224, 224),
        1.0,
        "bicubic",
        "75.85",
    ),
    "spikingformer_4_384_cifar.cifar10_400e": (
        {"num_heads": 12},
        (3, 32, 32),
        1.0,
        "bicubic",
        "95.81",
    ),
    "spikingformer_4_384_cifar.cifar100_400e": (
        {"num_heads": 8},
        (3, 32, 32),
        1.0,
        "bicubic",
        "79.21",
    ),
    "spikingformer_2_256_dvs.gesture_t16": (
        {"num_heads": 16, "tau": 1.5},
        (2, 128, 128),
        1.0,
        "bilinear",
        "98.3",
    ),
    "spikformer_8_512.in1k": ({"num_heads": 8}, (3, 224, 224), 1.0, "bicubic", "73.38"),
    "spikformer_4_384_cifar.cifar100_400e": (
        {"num_heads": 12},
        (3, 32, 32),
        1.0,
        "bicubic",
        "78.21",
    ),
    "spikformer_2_256_dvs.gesture_t16": ({"num_heads": 8}, (2, 128, 128), 1.0, "bilinear", "98.3"),
    "qkformer_10_384.in1k": (AS_RELEASED, (3, 224, 224), 0.875, "bicubic", "78.80"),
    "qkformer_10_768.in1k_384": (AS_RELEASED, (3, 384, 384), 1.0, "bicubic", "85.65"),
    "meta_spikeformer_55m.in1k_kd_t4": ({"time_steps": 4}, (3, 224, 224), 0.875, "bicubic", "80.0"),
    "e_spikeformer_10m.in1k_1x4": ({"levels": 4}, (3, 224, 224), 224 / 232, "bicubic", "78.5"),
    "e_spikeformer_83m.mae_in1k_1x8": ({"levels": 8}, (3, 224, 224), 224 / 232, "bicubic", "84.0"),
    "e_spikeformer_171m.mae_in1k_1x8_384": ({"levels": 8}, (3, 384, 384), 1.0, "bicubic", "86.2"),
    "e_spikeformer_hardvs_19m.hardvs_t8_d4": (
        {"time_steps": 8, "levels": 4},
        (2, 224, 224),
        0.875,
        "bicubic",
        "",
    ),
}


@pytest.mark.parametrize("full_name", SAID)
def test_what_the_authors_say(full_name):
    args, input_size, crop_pct, interpolation, figure = SAID[full_name]
    file = FILES[full_name]
    assert (file.args | {"num_classes": file.num_classes}).items() >= args.items()
    assert (file.input_size, file.crop_pct, file.interpolation) == (
        input_size,
        crop_pct,
        interpolation,
    )
    assert figure in file.published and bool(figure) == bool(file.published)


def heads(model):
    """Numbers of heads of its attention layers."""
    return {module.num_heads for module in model.modules() if hasattr(module, "num_heads")}


@pytest.mark.parametrize("full_name", FILES)
def test_a_tag_builds_the_network_that_it_states(full_name):
    file = FILES[full_name]
    with torch.device("meta"):
        model = create_network(full_name)
    body = next(m for m in model.modules() if isinstance(m, SpikeDrivenModel))
    stated = file.args | file.args.get("backbone_args", {})
    if "time_steps" in stated:
        assert body.time_steps == stated["time_steps"]
    if "levels" in stated:
        assert {m.levels for m in model.modules() if isinstance(m, IntegerNeuron)} == {
            stated["levels"]
        }
    if "num_heads" in stated:
        assert heads(model) == {stated["num_heads"]}
    if file.task == "classification":
        assert (model.num_classes, model.in_chans, *model.img_size) == (
            file.num_classes,
            *file.input_size,
        )
        assert model.pretrained_cfg["interpolation"] == file.interpolation


@pytest.mark.parametrize("full_name", FILES)
def test_a_tag_says_where_it_is_from_and_what_was_checked(full_name):
    file = FILES[full_name]
    pages = ("github.com/BICLab/", "github.com/zhouchenlin2096/", "github.com/ZK-Zhou/")
    assert any(page in file.source for page in pages)
    assert file.url == "" or file.url.startswith(
        ("https://drive.google.com/", "https://pan.baidu.com/")
    )
    assert file.checked and file.licence and file.task in TASKS
    labelled = "classification" if file.task == "pretraining" else file.task
    classes = find_set(file.dataset, labelled).facts.num_classes
    if file.task == "classification":
        assert file.num_classes == classes
    if file.dataset == "dvs128-gesture":
        assert (
            file.class_order == "as_text"
        )  # SpikingJelly sorts the folders of the classes as text
    if file.dataset == "cifar10-dvs":
        assert file.split == "authors"


def test_every_link_of_the_pages_is_there_once():
    links = {file.url for file in FILES.values() if file.url}
    assert sum("drive.google.com/file" in link for link in links) == 5 + 3 + 5
    assert sum("drive.google.com/drive/folders" in link for link in links) == 1
    assert sum("pan.baidu.com" in link for link in links) == 2 + 5
    announced = FILES["e_spikeformer_83m.mae_in1k_1x8_384"]  # its link on the page is empty
    assert announced.url == "" and announced.args["levels"] == 8


def test_keywords_of_the_user_win_over_the_tag():
    with torch.device("meta"):
        model = sd.create_model(
            "spikingformer_4_384_cifar.cifar100_400e", num_heads=6, num_classes=7
        )
    assert model.num_classes == 7
    assert heads(model) == {6}


def test_timm_takes_a_tag_too():
    import timm

    with torch.device("meta"):
        model = timm.create_model("sdt_8_768.in1k_288")
    assert model.pretrained_cfg["crop_pct"] == 0.9 and model.img_size == (288, 288)


def test_unknown_tags_name_the_known_ones():
    with pytest.raises(InputError, match=r"sdt_8_768\.in1k_288, sdt_8_768\.in1k"):
        sd.create_model("sdt_8_768.in22k")
    with pytest.raises(InputError, match="models --files"):
        find_file("mask_rcnn.nothing")
    assert variant_of("sdt_8_768.in1k_288").published == FILES["sdt_8_768.in1k_288"].published


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="twice"):
        register_files(FILES["sdt_8_384.in1k"])
