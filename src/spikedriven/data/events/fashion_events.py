"""fashion-events: a simulated event camera (never a recorded one) looks at garments of Fashion-MNIST.

Sensor of 34 x 34 pixels, 48 sub-steps, 300 ms. Two labellings of the same pictures:

* garment (10 classes): the picture, 28 x 28, goes once round a triangle, as in the three saccades of N-MNIST (Orchard
  et al., 2015, 10.3389/fnins.2015.00437). Time is not needed: where events fall says what the garment is.
* direction (8 classes): the picture, reduced to 14 x 14, hops over the eight places round the centre, each once, in the
  order in which a front that runs in the labelled direction would reach them (ties at random). At each place it
  makes the same kind of small round movement; while it hops, all pixels are held in reset. So the clips of one picture
  differ between directions in nothing but the order of eight scenes: in any order but the right one, and in any sum
  over time, there is no direction. (Plain translation would not do: one frame shows it, ON in front and OFF behind,
  and only the edges across the movement fire.)
"""

from functools import cached_property
from typing import Literal, get_args

import numpy as np

from spikedriven.data.events.events import Events
from spikedriven.data.events.simulator import Recording, Sensor
from spikedriven.data.images import ArrayImages
from spikedriven.data.seeding import derive_seed
from spikedriven.errors import InputError

Labels = Literal["garment", "direction"]
SIDE, SUB_STEPS, STEP_US = 34, 48, 6250
DURATION_US = SUB_STEPS * STEP_US
DIRECTIONS = ("right", "down-right", "down", "down-left", "left", "up-left", "up", "up-right")
#: (x, y) of each direction, y downwards; the eight places lie in these directions from the centre too.
COMPASS = np.array([(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)])
TRIANGLE_RADIUS, PLACE_DISTANCE, WOBBLE_RADIUS = 2.0, 9.0, 1.0


class FashionEvents:
    """Simulated clips, clip i of image i; each a function of (seed, split, index) only.

    Attributes: `classes`, `num_classes`, `targets` (int64 [N]).
    """

    def __init__(self, images: ArrayImages, split: str, labels: Labels = "garment", seed: int = 0) -> None:
        if labels not in get_args(Labels):
            raise InputError(f"labels {labels!r} are not known; choose one of {', '.join(get_args(Labels))}")
        if images.images.shape[1:] != (28, 28):
            raise InputError(f"{images.source}: expected 28 x 28 grey images, found {list(images.images.shape[1:])}")
        self.images, self.split, self.labels, self.seed = images, split, labels, seed
        self.classes: tuple[str, ...] = images.classes if labels == "garment" else DIRECTIONS

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def targets(self) -> np.ndarray:
        if self.labels == "garment":
            return self.images.targets
        # One stream of draws: the label of clip i does not depend on how many clips there are.
        return self._rng("direction").integers(0, len(DIRECTIONS), len(self))

    @cached_property
    def sensor(self) -> Sensor:
        """One sensor for all clips of a seed."""
        return Sensor.manufacture(SIDE, SIDE, np.random.default_rng(derive_seed("fashion-events sensor", self.seed)))

    def events(self, index: int) -> Events:
        """The events of one clip: 0 <= t < 300,000 microseconds."""
        recording, order = self._watch(index)
        return recording.events(order)

    def frames(self, index: int, time_steps: int) -> np.ndarray:
        """float32 counts [T, 2, 34, 34]: exactly what T equal spans of the 300 ms give, faster. T divides 48."""
        recording, order = self._watch(index)
        return recording.frames(time_steps, order)

    def _watch(self, index: int) -> tuple[Recording, np.ndarray]:
        """The recording of a clip, and the order of its scenes."""
        rng = self._rng("clip", index)
        picture = self.images.images[index] / 255.0
        if self.labels == "garment":
            light, order = show(picture, _triangle()[:, None]), np.arange(1)
        else:
            positions = _wobbles(rng)
            order = hop_order(int(self.targets[index]), rng)
            light = show(picture.reshape(14, 2, 14, 2).mean((1, 3)), positions)
        return self.sensor.watch(light, STEP_US, rng), order

    def _rng(self, *parts: int | str) -> np.random.Generator:
        return np.random.default_rng(derive_seed("fashion-events", self.seed, self.split, *parts))


def hop_order(direction: int, rng: np.random.Generator) -> np.ndarray:
    """The eight places (indices into COMPASS) in the order in which a front in this direction reaches them."""
    tie_breaker = rng.permutation(len(COMPASS))
    return np.argsort((COMPASS @ COMPASS[direction]) * len(COMPASS) + tie_breaker)


def show(picture: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """A picture [h, w] with its upper left corner at (x, y) = positions[s, g] pixels, on black: [S, G, 34, 34].

    Positions between pixels are interpolated linearly.
    """
    rows, columns = (_spread(positions[..., axis], picture.shape[1 - axis]) for axis in (1, 0))
    return rows @ picture @ columns.swapaxes(-1, -2)


def _spread(corner: np.ndarray, length: int) -> np.ndarray:
    """How much of picture pixel j falls on sensor pixel i, [..., 34, length]."""
    offset = np.arange(SIDE)[:, None] - np.arange(length) - corner[..., None, None]
    return np.maximum(1.0 - np.abs(offset), 0.0)


def _triangle() -> np.ndarray:
    """Once round a triangle: positions [49, 2] (x, y) of a 28 x 28 picture."""
    angles = np.pi * (np.array([0, 1, 2, 0]) * 2 / 3 + 1 / 2)
    corners = (SIDE - 28) / 2 + TRIANGLE_RADIUS * np.stack([np.cos(angles), -np.sin(angles)], axis=1)
    at = np.linspace(0, 3, SUB_STEPS + 1)
    return np.stack([np.interp(at, np.arange(4), axis) for axis in corners.T], axis=1)


def _wobbles(rng: np.random.Generator) -> np.ndarray:
    """Once round a small circle at each of the eight places, from a random point on it, in a random sense: positions
    [7, 8, 2] (x, y) of a 14 x 14 picture."""
    start, sense = rng.uniform(0, 2 * np.pi, len(COMPASS)), rng.choice([-1, 1], len(COMPASS))
    angles = start + sense * np.linspace(0, 2 * np.pi, SUB_STEPS // len(COMPASS) + 1)[:, None]
    circle = WOBBLE_RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return (SIDE - 14) / 2 + PLACE_DISTANCE * COMPASS + circle
