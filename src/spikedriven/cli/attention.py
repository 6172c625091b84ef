"""Where a network fires: maps per attention block and time step over an image, as in figure 3 of
the SDT paper.

Example:

    spikedriven attention runs/quickstart shoe.png
    spikedriven attention sdt_8_768.in1k_288 cat.jpg --checkpoint authors.pth.tar --out cat.png
    spikedriven attention runs/quickstart shoe.png --maps neurons --rows 12    # every neuron
    spikedriven attention runs/gesture recording.aedat   # one clip, framed as in evaluation
    spikedriven attention sdt_2_256_gesture frames.npy   # event frames [T, 2, H, W]
    spikedriven attention runs/quickstart shoe.png --save-qkv qkv.npz    # spikes of Q, K and V

Shown for each block are the spikes of V ("value") and what attention leaves of them ("output": the
spikes that the last projection of the block reads), each averaged over channels: the firing rate of
every position. One row a block, one column a time step; each row has its own colour scale. Without
--checkpoint a model name has random weights. The figure is then labelled so, and shows what the
architecture does, not what a network has learned. Of a network for masked pre-training the maps are
those of the encoder on the whole picture.

--save-qkv writes, for every block, the arrays BLOCK.q, BLOCK.k and BLOCK.v: uint8 [T, C, H, W], the
spikes of each time step, of integer neurons their counts; and BLOCK.num_heads. numpy.load reads the
file.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from torch import Tensor

from spikedriven.cli.arguments import parse
from spikedriven.cli.recordings import check_events, clip_of
from spikedriven.data.events import Told
from spikedriven.errors import InputError
from spikedriven.files import write_whole
from spikedriven.graph.calibrate import calibrate
from spikedriven.report.attention import FiringMap, firing_maps
from spikedriven.report.figure import attention_figure
from spikedriven.report.images import picture, read_frames, read_image
from spikedriven.report.qkv import npz_bytes, qkv_spikes
from spikedriven.runs.target import Loaded, Target, load_target, preprocessing


@dataclass(frozen=True, kw_only=True)
class Arguments(Target):
    image: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE")]
    """Picture; for a network on event frames a recording (`spikedriven events`), or a .npy file
    [T, C, H, W].
    """
    height: int | None = None
    """Rows of the sensor, where the recording does not say."""
    width: int | None = None
    """Columns of the sensor, where the recording does not say."""
    out: Path = Path("attention.png")
    """File for the figure."""
    maps: Literal["both", "value", "output", "neurons"] = "both"
    """Of attention blocks V, the output, or both; neurons: of every neuron on a feature map."""
    rows: int = 16
    """Largest number of rows; the last ones are shown. 0: all."""
    save_qkv: Path | None = None
    """Also write the spikes of Q, K and V of every attention block into this .npz file."""
    json: bool = False
    """Also print the maps as JSON: name, place, rates [T][H][W]."""


def run(argv: list[str]) -> int:
    """Parse `argv`, record the maps, write the figure."""
    arguments = parse(Arguments, argv, "attention", __doc__)
    if arguments.rows < 0:
        raise InputError(f"--rows {arguments.rows}: expected 0 (all) or more")
    loaded = load_target(arguments)
    sample, image = _sample(loaded, arguments)
    if not loaded.trained:
        calibrate(loaded.model, torch.cat([sample, sample.flip(-1)]))
    maps = firing_maps(
        loaded.model, sample, ("value", "output") if arguments.maps == "both" else (arguments.maps,)
    )
    shown = maps[-arguments.rows :] if arguments.rows else maps
    path = write_whole(
        arguments.out,
        attention_figure(image, shown, _title(loaded, arguments, len(shown), len(maps))),
    )
    if arguments.save_qkv is not None:
        write_whole(arguments.save_qkv, npz_bytes(qkv_spikes(loaded.model, sample)), "--save-qkv")
    if arguments.json:
        print(json.dumps([_record(one) for one in shown]))
    else:
        print(f"{len(shown)} of {len(maps)} maps written to {path}")
        if arguments.save_qkv is not None:
            print(f"spikes of q, k and v written to {arguments.save_qkv}")
    return 0


def _sample(loaded: Loaded, arguments: Arguments) -> tuple[Tensor, np.ndarray]:
    """The network's input, and the picture to draw the maps on."""
    if loaded.model.input_layout == "events":
        frames = _event_frames(loaded, arguments)
        return frames, picture(frames[0])
    data = loaded.data or preprocessing(loaded.model, loaded.file)
    sample = read_image(arguments.image, data)
    return sample, picture(sample[0], *data.normalization())


def _event_frames(loaded: Loaded, arguments: Arguments) -> Tensor:
    """A batch of one: of a .npy file as they are, of a recording as the run's data were framed."""
    if arguments.image.suffix == ".npy":
        return read_frames(arguments.image, loaded.model.in_chans)
    if loaded.data is None:
        raise InputError(
            f"{arguments.target} is a model name, and only a run tells how frames are made of "
            "events: give a .npy file "
            f"with an array [T, {loaded.model.in_chans}, H, W], or a run"
        )
    data = check_events(arguments.target, loaded.data, "a recording")
    return clip_of(arguments.image, Told(height=arguments.height, width=arguments.width), data)


def _title(loaded: Loaded, arguments: Arguments, shown: int, all_maps: int) -> str:
    weights = (
        ""
        if loaded.trained
        else "RANDOM WEIGHTS (batch norms set to this image): shows no learned attention. "
    )
    part = "" if shown == all_maps else f" Last {shown} of {all_maps} rows."
    return (
        f"{arguments.target}: {weights}Firing rate of each position, mean over channels, one "
        "colour scale a row; "
        f"grey: silent.{part}"
    )


def _record(one: FiringMap) -> dict[str, object]:
    return dataclasses.asdict(one) | {"rates": one.rates.tolist()}
