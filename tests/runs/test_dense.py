"""What files of detectors and segmenters must be told, and how they are evaluated."""

from pathlib import Path

import pytest

from spikedriven.data.detection.config import DetectionDataConfig
from spikedriven.errors import CheckpointError, InputError
from spikedriven.models import create_detector, create_segmenter
from spikedriven.models.header import Provenance
from spikedriven.models.tags import find_file
from spikedriven.runs.dense import asked_of_dense, dense_data, prepared
from spikedriven.runs.identify import identify

BODY = {"embed_dims": (8, 16, 16, 16), "depths": (1, 1, 1, 1, 1), "num_heads": 2}


def asked(**own):
    return asked_of_dense(
        own, lambda body, keywords: {"one": ("levels",), "two": ("time_steps", "num_heads")}[body]
    )


def test_what_is_asked_depends_on_what_is_known():
    assert asked() == ("backbone", "mode", "neuron")
    assert asked(neuron="integer") == ("backbone", "mode", "neuron", "levels")
    assert asked(backbone="one") == ("backbone", "mode", "neuron", "backbone_args.levels")
    assert asked(backbone="one", backbone_args={"levels": 4}) == ("backbone", "mode", "neuron")
    assert asked(backbone="two", time_steps=4) == (
        "backbone",
        "mode",
        "neuron",
        "backbone_args.num_heads",
    )


def test_of_a_body_each_may_say_something_else():
    name = "semantic_fpn.e_spikeformer_10m_ade20k"
    found = identify(name, {"backbone_args": {"num_heads": 4}}, {})
    assert found.keywords["backbone_args"] == {"num_heads": 4, "levels": 4}
    beside = Provenance(
        "semantic_fpn", args={"backbone_args": {"levels": 4, "img_size": 64}}, where="its header"
    )
    assert identify(name, {}, {}, beside).keywords["backbone_args"] == {"levels": 4, "img_size": 64}
    wrong = Provenance("semantic_fpn", args={"backbone_args": {"levels": 8}}, where="its header")
    with pytest.raises(CheckpointError, match=r"its header says backbone_args \{'levels': 8\}"):
        identify(name, {}, {}, wrong)
    said = identify(name, {"backbone_args": {"levels": 8}}, {}, wrong)
    assert said.keywords["backbone_args"] == {"levels": 8}


def test_how_a_named_network_is_evaluated():
    detector = create_detector(
        "mask_rcnn", backbone_args=BODY, width=8, head_width=8, num_classes=80
    )
    data = dense_data(
        detector, find_file("mask_rcnn.e_spikeformer_10m_coco"), "coco2017", Path("/data")
    )
    assert isinstance(data, DetectionDataConfig)
    assert (data.dataset, data.test_size, data.max_size, data.root) == (
        "coco2017",
        800,
        1333,
        Path("/data"),
    )
    segmenter = create_segmenter(backbone_args=BODY, width=8, num_classes=150)
    assert dense_data(segmenter, None, "ade20k", None).resize == (2048, 512)
    assert prepared(segmenter, None, "fashion-scenes", None).resize is None


def test_classes_must_be_those_of_the_set():
    segmenter = create_segmenter(backbone_args=BODY, width=8, num_classes=150)
    voc = find_file("semantic_fpn.meta_spikeformer_15m_voc2012_t1")
    assert dense_data(segmenter, voc, "voc2012", None).dataset == "voc2012", (
        "its own file has 150 outputs"
    )
    for file, name in ((None, "voc2012"), (voc, "voc12aug")):
        with pytest.raises(InputError, match=f"tells 150 classes apart, but {name} has 21"):
            dense_data(segmenter, file, name, None)
    with pytest.raises(
        InputError, match="'coco2017' is a data set for detection; those for segmentation"
    ):
        dense_data(segmenter, None, "coco2017", None)
    few = create_segmenter(backbone_args=BODY, width=8, num_classes=3)
    with pytest.raises(InputError, match="tells 3 classes apart"):
        dense_data(few, voc, "voc2012", None)
