import io

import numpy as np
import pytest
import torch
from PIL import Image

from spikedriven.report.drawing import (
    class_colour,
    draw_labels,
    draw_objects,
    enlarged,
    enlargement,
    figure_png,
    legend_of,
    png_bytes,
)


def test_colours_of_classes_differ():
    assert len({class_colour(i) for i in range(150)}) == 150
    assert len({class_colour(i) for i in range(11)}) == 11
    assert all(0 <= value <= 255 for i in range(150) for value in class_colour(i))


def test_labels_are_drawn_where_they_are(grey):
    labels = np.zeros((8, 8), dtype=np.uint8)
    labels[:4], labels[6:] = 3, 255
    grey = np.random.default_rng(0).integers(0, 256, grey.shape, dtype=np.uint8)
    grey[:4] = 128
    drawn = draw_labels(grey, labels, skip={0, 255})
    assert np.array_equal(drawn[4:], grey[4:]), "background and 255 stay as they are"
    assert len(np.unique(drawn[:4].reshape(-1, 3), axis=0)) == 1
    towards = np.sign(np.array(class_colour(3)) - 128)
    assert np.array_equal(np.sign(drawn[0, 0].astype(int) - 128), towards)
    assert np.array_equal(draw_labels(grey, np.zeros((8, 8), int), skip={0}), grey)
    with pytest.raises(ValueError, match="do not lie on each other"):
        draw_labels(grey, labels[:4])


def test_boxes_and_masks_lie_on_the_enlarged_picture(grey):
    assert enlargement(grey) == 40 and enlarged(grey).shape == (320, 320, 3)
    masks = torch.zeros(1, 8, 8, dtype=torch.bool)
    masks[0, 2:4, 2:6] = True
    boxes = torch.tensor([[2.0, 2.0, 6.0, 4.0]])
    drawn = draw_objects(grey, boxes, [1], ["Bag 90%"], masks)
    changed = np.argwhere((drawn != 128).any(-1))
    inside = drawn[2 * 40 + 30 : 4 * 40 - 30, 3 * 40 : 5 * 40]
    assert (inside != 128).any(-1).all(), "the mask is coloured"
    assert changed[:, 1].min() >= 2 * 40 - 25 and changed[:, 0].max() <= 4 * 40 + 25
    outline = draw_objects(grey, boxes, [1], ["Bag 90%"])
    assert (outline[3 * 40, 4 * 40] == 128).all() and (
        outline[3 * 40, 2 * 40] == class_colour(1)
    ).all()
    assert np.array_equal(draw_objects(grey, torch.zeros(0, 4), [], []), enlarged(grey))
    assert enlargement(np.zeros((400, 900, 3), np.uint8)) == 1


def test_legend_names_what_is_there_largest_first():
    labels = np.array([[1, 1, 1], [2, 2, 0], [0, 0, 0]])
    names = ("background", "shirt", "bag")
    assert legend_of(labels, names, {0}) == [("shirt", class_colour(1)), ("bag", class_colour(2))]


def test_figures_are_png_and_take_any_name(grey):
    legend = [(f"$class_{i}$ with a very long name", class_colour(i)) for i in range(30)]
    image = Image.open(
        io.BytesIO(figure_png([("a $ b", grey), ("two\nlines", grey)], legend, "$x_" * 60))
    )
    assert image.format == "PNG" and image.width == 720 and image.height > 300
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png_bytes(grey)))), grey)
