"""Detectors and segmenters: called as before, with programs in place of their layers."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

import spikedriven as sd
from spikedriven.engine import load_programs, save_programs
from spikedriven.engine.parts import CompiledPart
from spikedriven.errors import CheckpointError, InputError
from spikedriven.models.segmentation import create_segmenter
from spikedriven.models.segmentation.semantic_fpn import Segmenter
from tests.engine.exact import exact, halves
from tests.models.detection.detectors import META, scenes, small

THIN = {
    "embed_dims": (8, 16, 16, 16),
    "depths": (0, 1, 1, 1, 1),
    "num_heads": 2,
    "mlp_ratio": 1,
    "img_size": 64,
}
DETECTORS = {
    "mask_rcnn": ("mask_rcnn", {}),
    "released": ("mask_rcnn", {"mode": "released"}),
    "retinanet": ("retinanet", {**META, "keep_time": True, "score_thresh": 0.0}),
    "cascade": ("cascade_mask_rcnn", {"proposals": 5}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_a_compiled_detector_finds_what_the_detector_finds(name: str) -> None:
    kind, changes = DETECTORS[name]
    detector = exact(small(kind, **changes))
    images, _ = scenes((64, 64), (48, 64))
    compiled = sd.compile(detector, images)
    assert any(part.programs for part in compiled.modules() if isinstance(part, CompiledPart))
    found = compiled(images)
    with torch.no_grad():
        expected = copy.deepcopy(detector).double()([image.double() for image in images])
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys() and len(ours["boxes"]) == len(theirs["boxes"])
    layers = [(detector.backbone, compiled.backbone, halves(2, 3, 64, 64))]
    for original, program, x in layers:
        with torch.no_grad():
            maps = copy.deepcopy(original).double()(x.double())
        assert_close(list(program(x).values()), list(maps.values()))


def assert_close(found: list[Tensor], expected: list[Tensor]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        largest = float(theirs.abs().max())
        torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=1e-4 * largest)


def test_heads_on_regions_are_programs_for_any_number_of_regions() -> None:
    detector = exact(small("mask_rcnn"))
    compiled = sd.compile(detector)
    heads = detector.roi_heads
    original = copy.deepcopy(heads).double()
    for count in (3, 1, 0):
        rois = halves(count, 16, 7, 7)
        with torch.no_grad():
            expected = original.box_predictor(original.box_head(rois.double()))
        assert_close(list(compiled.roi_heads.box_head(rois)), list(expected)) if count else None
        assert [x.shape for x in compiled.roi_heads.box_head(rois)] == [x.shape for x in expected]
    assert len(compiled.roi_heads.box_head.program.programs) == 1


def segmenter(**keywords) -> Segmenter:
    torch.manual_seed(0)
    return create_segmenter(
        **{
            "backbone": "e_spikeformer_3m",
            "backbone_args": THIN,
            "num_classes": 5,
            "width": 16,
            **keywords,
        }
    )


@pytest.mark.parametrize(
    "upsampling", ["nearest", pytest.param("bilinear", marks=pytest.mark.slow)]
)
def test_a_compiled_segmenter_gives_logits_of_images_of_any_size(upsampling: str) -> None:
    model = exact(segmenter(upsampling=upsampling))
    compiled = sd.compile(model, halves(2, 3, 64, 64))
    assert len(compiled.dense_logits.programs) == 1
    for size in ((64, 64), (64, 96)):
        x = halves(2, 3, *size)
        with torch.no_grad():
            expected = copy.deepcopy(model).double()(x.double())
        found = compiled(x)
        assert found.shape == (2, 5, *size)
        assert_close([found], [expected])
    assert len(compiled.dense_logits.programs) == 2
    assert compiled.stride == model.stride and not compiled.training


def test_programs_of_a_segmenter_are_saved_and_loaded(tmp_path: Path) -> None:
    model, x = exact(segmenter()), halves(1, 3, 64, 64)
    compiled = sd.compile(model, x)
    save_programs(compiled, tmp_path / "programs")
    again = sd.compile(model)
    with pytest.raises(InputError, match="made no program yet"):
        save_programs(again, tmp_path / "nothing")
    load_programs(again, tmp_path / "programs")
    again.dense_logits.compile_part = None  # nothing is compiled a second time
    assert torch.equal(again(x), compiled(x))
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    with pytest.raises(CheckpointError, match="made of other weights"):
        load_programs(sd.compile(model), tmp_path / "programs")
    (tmp_path / "programs" / "programs.json").write_text("{")
    with pytest.raises(CheckpointError, match="no list of programs"):
        load_programs(again, tmp_path / "programs")
    with pytest.raises(InputError, match="no compiled parts"):
        load_programs(model, tmp_path / "programs")
