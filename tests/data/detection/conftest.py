"""What the detection tests share."""

import pytest

from tests.data.detection.coco_files import small_coco


@pytest.fixture
def two_classes(monkeypatch):
    """COCO 2017 has as many classes as the small set of `coco_files`."""
    small_coco(monkeypatch)
