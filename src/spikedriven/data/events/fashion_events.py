"""fashion-events: a simulated event camera (never a recorded one) looks at garments of
Fashion-MNIST.

Sensor of 34 x 34 pixels, 48 sub-steps, 300 ms. Two labellings of the same pictures:

* garment (10 classes): the picture, 28 x 28, goes once round a triangle, as in the three saccades
  of N-MNIST (Orchard et al., 2015, 10.3389/fnins.2015.00437). Time is not needed: where events fall
  says what the garment is.
* direction (8 classes): the picture, reduced to 14 x 14, hops over the eight places round the
  centre, each once, in the order in which a front that runs in the labelled direction would reach
  them (ties at random), begun at a random one of them: after the last place comes the first. At
  each place it makes the same kind of small round movement; while it hops, all pixels are held in
  reset. So the clips of one picture differ between directions in nothing but the order of eight
  scenes: in a random order, in any sum over time, and in any one step there is no direction. (Plain
  translation would not do: one frame shows it, ON in front and OFF behind, and only the edges
  across the movement fire.)
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch

from spikedriven.checks import check_whole, refuse
from spikedriven.data import fashion
from spikedriven.data.events.config import FramedEventConfig
from spikedriven.data.events.dataset import EventDataset
from spikedriven.data.events.events import Events
from spikedriven.data.events.framing import count, to_frames
from spikedriven.data.events.simulator import Recording, Sensor
from spikedriven.data.images import ArrayImages
from spikedriven.data.seeding import derive_seed

SIDE, SUB_STEPS, STEP_US = 34, 48, 6250
DURATION_US = SUB_STEPS * STEP_US
DIRECTIONS = ("right", "down-right", "down", "down-left", "left", "up-left", "up", "up-right")
#: (x, y) of each direction, y downwards; the eight places lie in these directions from the centre
#: too.
COMPASS = np.array([(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)])
TRIANGLE_RADIUS, PLACE_DISTANCE, WOBBLE_RADIUS = 2.0, 9.0, 1.0
#: Frames are kept in memory up to so many bytes; beyond, clips are simulated again in every epoch.
KEPT_BYTES = 1 << 28


@dataclass(frozen=True, kw_only=True)
class FashionEventsConfig(FramedEventConfig):
    """The data section of fashion-events."""

    labels: Literal["garment", "direction"] = "garment"
    """What a clip is labelled with; direction (of motion) needs time."""
    pictures: Literal["fashion-mini", "fashion-mnist"] = "fashion-mini"
    """The pictures that the simulated sensor is shown."""
    simulation_seed: int = 0
    """Of the sensor's pixels, the paths and the noise, whatever the seed of the run is."""

    def reads_root(self) -> bool:
        """The full set lies in the data folder."""
        return self.pictures == "fashion-mnist"

    def told(self) -> tuple[str, ...]:
        """That no camera recorded this, and what the labels are."""
        return "simulated", self.labels

    def clip_time(self) -> tuple[int | None, int | None]:
        """Clips begin at 0 and are all of one length."""
        if self.split_by == "number":
            return None, self.step_us
        return 0, self.step_us or DURATION_US // self.time_steps

    def _check(self) -> None:
        super()._check()
        check_whole(self, {"simulation_seed": 0})
        if self.labels == "direction":
            self._check_direction()

    def _check_direction(self) -> None:
        """No step may hold parts of two places, which would show a direction by itself, and nothing
        may turn it."""
        whole_clip = self.step_us in (None, DURATION_US // self.time_steps)
        if self.split_by != "time" or self.time_steps not in (8, 16, 24, 48) or not whole_clip:
            found = f"{self.split_by}, time_steps {self.time_steps}, step_us {self.step_us}"
            steps = "time, with time_steps 8, 16, 24 or 48 over the 300 ms"
            refuse("split_by", found, f"for labels direction: {steps}")
        for field in ("hflip", "rotation", "shear", "snn_augment"):
            if getattr(self, field):
                refuse(field, getattr(self, field), "0 for labels direction, which it would turn")


def open_set(cfg: FashionEventsConfig, data_folder: Path, split: str) -> "FashionEvents":
    """The clips of one split, "train" or "test": one of each picture of the set `cfg.pictures`."""
    if cfg.pictures == "fashion-mini":
        return FashionEvents(cfg, fashion.load_embedded(split), split)
    return FashionEvents(cfg, fashion.load_full(data_folder, split, download=False), split)


class FashionEvents(EventDataset):
    """Simulated clips, clip i of image i; each a function of (cfg.simulation_seed, split,
    index) only.
    """

    cfg: FashionEventsConfig

    def __init__(
        self,
        cfg: FashionEventsConfig,
        images: ArrayImages,
        split: str,
        indices: np.ndarray | None = None,
    ) -> None:
        self.images, self.split = images, split
        self.indices = np.arange(len(images)) if indices is None else indices
        targets, classes = images.targets, images.classes
        if cfg.labels == "direction":
            # One stream of draws: the label of a clip does not depend on how many clips there are.
            draws = np.random.default_rng(
                derive_seed("fashion-events labels", cfg.simulation_seed, split)
            )
            targets, classes = draws.integers(0, len(DIRECTIONS), len(images)), DIRECTIONS
        super().__init__(cfg, targets[self.indices], classes)
        self._kept: dict[int, np.ndarray] = {}

    def events(self, index: int) -> Events:
        """The events of one clip: 0 <= t < 300,000 microseconds."""
        recording, order = self._watch(index)
        return recording.events(order)

    def frames(self, index: int, draws: np.random.Generator | None = None) -> torch.Tensor:
        frames = self._kept.get(index) if self.cfg.cache else None
        if frames is None:
            frames = self._frames(index)
            if (
                self.cfg.cache
                and frames.nbytes // 4 * (len(self._kept) + 1) <= KEPT_BYTES
                and frames.max() < 256
            ):
                self._kept[index] = frames.astype(np.uint8)
        return torch.from_numpy(frames.astype(np.float32))

    def where(self, index: int) -> str:
        return f"{self.images.where(int(self.indices[index]))}, simulated"

    def subset(self, indices: np.ndarray) -> Self:
        return type(self)(self.cfg, self.images, self.split, self.indices[indices])

    @cached_property
    def sensor(self) -> Sensor:
        """One sensor for all clips of a seed."""
        draws = np.random.default_rng(
            derive_seed("fashion-events sensor", self.cfg.simulation_seed)
        )
        return Sensor.manufacture(SIDE, SIDE, draws)

    def _frames(self, index: int) -> np.ndarray:
        """float32 [T, 2, 34, 34] as the configuration says; straight from the simulation where
        that gives the same.
        """
        steps = self.cfg.time_steps
        span = self.cfg.clip_time()[1] or 0
        if self.cfg.split_by == "time" and span * steps == DURATION_US and SUB_STEPS % steps == 0:
            recording, order = self._watch(index)
            frames = recording.frames(steps, order)
            return np.minimum(frames, 1) if self.cfg.values == "binary" else frames
        events = self.events(index)
        if self.cfg.split_by == "time":
            borders = np.searchsorted(events.t, span * np.arange(steps + 1))
            return count(events, borders, self.cfg.values == "binary")
        return to_frames(events, self.cfg)

    def _watch(self, index: int) -> tuple[Recording, np.ndarray]:
        """The recording of a clip, and the order of its scenes."""
        origin = int(self.indices[index])
        draws = np.random.default_rng(
            derive_seed("fashion-events", self.cfg.simulation_seed, self.split, origin)
        )
        picture = self.images.images[origin] / 255.0
        if self.cfg.labels == "garment":
            light, order = show(picture, _triangle()[:, None]), np.arange(1)
        else:
            positions = _wobbles(draws)
            order = hop_order(int(self.targets[index]), draws)
            light = show(picture.reshape(14, 2, 14, 2).mean((1, 3)), positions)
        return self.sensor.watch(light, STEP_US, draws), order


def hop_order(direction: int, rng: np.random.Generator) -> np.ndarray:
    """The eight places (indices into COMPASS) in the order in which a front in this direction
    reaches them, from a random one of them on: without that, the first place alone would give two
    thirds of the directions away.
    """
    tie_breaker = rng.permutation(len(COMPASS))
    order = np.argsort((COMPASS @ COMPASS[direction]) * len(COMPASS) + tie_breaker)
    return np.roll(order, rng.integers(len(COMPASS)))


def show(picture: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """A picture [h, w] with its upper left corner at (x, y) = positions[s, g] pixels, on black: [S,
    G, 34, 34].

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
    corners = (SIDE - 28) / 2 + TRIANGLE_RADIUS * np.stack(
        [np.cos(angles), -np.sin(angles)], axis=1
    )
    at = np.linspace(0, 3, SUB_STEPS + 1)
    return np.stack([np.interp(at, np.arange(4), axis) for axis in corners.T], axis=1)


def _wobbles(rng: np.random.Generator) -> np.ndarray:
    """Once round a small circle at each of the eight places, from a random point on it, in a random
    sense: positions [7, 8, 2] (x, y) of a 14 x 14 picture.
    """
    start, sense = rng.uniform(0, 2 * np.pi, len(COMPASS)), rng.choice([-1, 1], len(COMPASS))
    angles = start + sense * np.linspace(0, 2 * np.pi, SUB_STEPS // len(COMPASS) + 1)[:, None]
    circle = WOBBLE_RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return (SIDE - 14) / 2 + PLACE_DISTANCE * COMPASS + circle
