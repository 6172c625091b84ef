"""What the detection tests share."""

import dataclasses

import pytest

from spikedriven.data.detection import DETECTION_SETS


@pytest.fixture
def two_classes(monkeypatch):
    """COCO 2017 has as many classes as the small set of `coco_files`."""
    monkeypatch.setitem(
        DETECTION_SETS, "coco2017", dataclasses.replace(DETECTION_SETS["coco2017"], num_classes=2)
    )
