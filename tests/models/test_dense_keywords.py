"""Keywords of detectors and segmenters: which are their body's, and who wins."""

import pytest

from spikedriven.cli.arguments import nested, split_arguments
from spikedriven.errors import InputError
from spikedriven.models import create_detector, create_segmenter
from spikedriven.models.dense_keywords import gathered, joined


def test_the_bodys_keywords_go_to_the_body():
    found = gathered(
        {"width": 8, "backbone_args": {"levels": 4, "time_steps": 1}},
        {"time_steps": 2, "width": 16},
    )
    assert found == {"width": 16, "backbone_args": {"levels": 4, "time_steps": 2}}
    assert gathered({}, {"width": 16}) == {"width": 16}
    assert gathered({"backbone_args": {"levels": 4}}, {"backbone_args": {"num_heads": 2}}) == {
        "backbone_args": {"levels": 4, "num_heads": 2}
    }
    assert joined(None, {"a": 1}) == joined({"a": 0}, {"a": 1}) == {"a": 1}


def test_networks_take_them():
    body = {"embed_dims": (8, 16, 16, 16), "depths": (1, 1, 1, 1, 1), "num_heads": 2}
    common = {
        "backbone": "meta_spikeformer_15m",
        "backbone_args": body,
        "time_steps": 3,
        "width": 8,
    }
    segmenter = create_segmenter("semantic_fpn", num_classes=2, img_size=64, **common)
    assert segmenter.time_steps == 3 and segmenter.example_input().shape == (1, 3, 64, 64)
    assert create_detector("retinanet", num_classes=2, **common).time_steps == 3


def test_a_key_with_a_dot_is_one_of_a_dictionary():
    words = [
        "--model.args.backbone-args.levels",
        "8",
        "a",
        "--model.args.backbone_args.num-heads=2",
        "--x",
        "1",
    ]
    rest, given = split_arguments(words, ("model",))
    assert rest == ["a", "--x", "1"]
    assert nested(given["model"]) == {"backbone_args": {"levels": 8, "num_heads": 2}}
    with pytest.raises(
        InputError, match=r"--model\.args\.width 3 and --model\.args\.width\.x: give one of them"
    ):
        nested({"width": 3, "width.x": 1})
