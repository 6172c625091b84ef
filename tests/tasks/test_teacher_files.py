"""The CAFormer file of the Meta-SpikeFormer README has the key names of sail-sg/poolformer: timm's
filter reads it."""

import dataclasses
import re

import pytest
import timm
import torch
from timm.models.metaformer import (
    Attention,
    LayerNorm2dNoBias,
    LayerNormNoBias,
    MetaFormer,
    SepConv,
)

from spikedriven.errors import CheckpointError
from spikedriven.recipes.types import DistillConfig
from spikedriven.tasks import distillation
from spikedriven.tasks.distillation import load_teacher
from tests.tasks.toys import classifier, recipe

#: timm's names -> those of the file.
ORIGINAL = [
    (r"^stem\.norm", "downsample_layers.0.post_norm"),
    (r"^stem", "downsample_layers.0"),
    (r"^stages\.(\d+)\.downsample\.norm", r"downsample_layers.\1.pre_norm"),
    (r"^stages\.(\d+)\.downsample", r"downsample_layers.\1"),
    (r"^stages\.(\d+)\.blocks", r"stages.\1"),
    (r"^head\.norm", "norm"),
    (r"^head\.fc", "head"),
]


def original(model):
    """A state dict as the authors' code has it: other names, and linear layers where timm has 1x1
    convolutions."""
    weights = {}
    for key, value in model.state_dict().items():
        for pattern, replacement in ORIGINAL:
            key, found = re.subn(pattern, replacement, key)
            if found:
                break
        weights[key] = value.flatten(1) if re.search(r"(pwconv\d|fc\d)\.weight", key) else value
    return weights


def caformer(name="", num_classes=10, in_chans=1, **keywords):
    """CAFormer with one block per stage."""
    return MetaFormer(
        in_chans, num_classes, depths=(1, 1, 1, 1), dims=(32, 32, 64, 64),
        token_mixers=[SepConv, SepConv, Attention, Attention],
        norm_layers=[LayerNorm2dNoBias] * 2 + [LayerNormNoBias] * 2,
    )  # fmt: skip


@pytest.fixture
def teacher(monkeypatch, tmp_path):
    """Loads a file as the teacher of a recipe."""
    monkeypatch.setattr(distillation, "build_timm", caformer)
    student = recipe(classifier(), "distillation")

    def load(content):
        torch.save(content, tmp_path / "caformer.pth")
        distill = DistillConfig(teacher="timm/caformer_b36", checkpoint=tmp_path / "caformer.pth")
        return load_teacher(dataclasses.replace(student, distill=distill))

    return load


@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_authors_file_is_the_teacher(prefix, teacher):
    torch.manual_seed(1)
    theirs = caformer().eval()
    content = {f"{prefix}{key}": value for key, value in original(theirs).items()}
    assert (
        f"{prefix}stages.0.0.token_mixer.pwconv1.weight" in content
        and f"{prefix}head.fc1.weight" in content
    )
    loaded, x = teacher(content), torch.randn(1, 1, 64, 64)
    assert torch.equal(loaded(x), theirs(x)) and not loaded.training


def test_files_of_timm_are_read_as_they_are(teacher):
    theirs = caformer()
    loaded = teacher({"state_dict": theirs.state_dict()})
    assert all(
        torch.equal(value, loaded.state_dict()[key]) for key, value in theirs.state_dict().items()
    )


def test_the_published_size_has_the_names_of_the_published_file():
    model = timm.create_model("caformer_b36")  # not on the device "meta": timm 1.0.20 reads values
    renamed = timm.models.metaformer.checkpoint_filter_fn(original(model), model)
    assert {key: value.shape for key, value in renamed.items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }


def broken(what):
    weights = original(caformer())
    key = "stages.0.0.mlp.fc1.weight"
    changes = {
        "transposed": {key: weights[key].T.contiguous()},
        "deeper": {"stages.0.7.norm1.weight": torch.ones(32)},
        "other classes": {"head.fc2.weight": torch.zeros(1000, 256)},
        "sparse": {key: weights[key].to_sparse()},
        "too large": {key: weights[key].double() + 1e300},
    }
    return weights | changes[what]


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize(
    ("what", "message"),
    [
        (
            "transposed",
            r"stages\.0\.0\.mlp\.fc1\.weight has shape \[32, 128\], expected \[128, 32, 1, 1\]",
        ),
        (
            "deeper",
            r"is not for MetaFormer as it was built: .*'stages\.0\.blocks\.7\.norm1\.weight'.*name "
            r"of the teacher",
        ),
        ("other classes", r"head\.fc\.fc2\.weight: expected \[10, 256\], found \[1000, 256\]"),
        ("sparse", "sparse or opaque tensor"),
        (
            "too large",
            r"values too large for torch\.float32 in stages\.0\.blocks\.0\.mlp\.fc1\.weight",
        ),
    ],
)
def test_files_that_do_not_fit_are_refused(what, message, teacher):
    """timm's filter gives a transposed weight the expected shape, numbers in the wrong order."""
    with pytest.raises(CheckpointError, match=message):
        teacher(broken(what))


def test_a_missing_weight_is_refused(teacher):
    weights = original(caformer())
    del weights["norm.bias"]
    with pytest.raises(CheckpointError, match=r"1 missing:\n  head\.norm\.bias"):
        teacher(weights)
