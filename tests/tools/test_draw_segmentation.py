"""The figure of docs/segmentation.md."""

from pathlib import Path

import numpy as np
import pytest
from draw_segmentation import column, main
from PIL import Image

from spikedriven.data.scenes import FashionScenes


def test_without_a_run_scenes_and_their_labels_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "scenes.png"
    monkeypatch.setattr("sys.argv", ["draw_segmentation.py", "--out", str(out), "--scenes", "2"])
    main()
    with Image.open(out) as image:
        assert image.format == "PNG" and image.width == 720


def test_labels_stand_below_the_picture() -> None:
    scenes = FashionScenes("test", length=1)
    picture, labels = column(None, scenes, 0)
    image, target = scenes[0]
    assert np.array_equal(picture[:128], image.permute(1, 2, 0).numpy()) and picture.shape == (
        128 + 4 + 128,
        128,
        3,
    )
    assert np.array_equal(labels, target["label_map"].numpy())
    drawn = (picture[132:] != picture[:128]).any(-1)
    assert np.array_equal(drawn & (labels == 0), np.zeros_like(drawn))
