"""What was done to a network that was quantized: a record that says it in a file, and does it
again to a fresh one.
"""

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import torch
from torch import nn

from spikedriven.errors import CheckpointError
from spikedriven.graph.attributes import Attribute
from spikedriven.layers.fold import Idle
from spikedriven.layers.quantized import ChannelAffine, QuantizedLayer, Reading, Window
from spikedriven.layers.quantized_training import TrainedLayer
from spikedriven.neurons import Neuron

#: Under which name a model carries its record, and a file its text.
RECORD = "quantization"


@dataclass(frozen=True)
class LayerRecord:
    """A layer with integer weights. shape: of its weight; kind: "all" for most, "first" or "last"
    for those at the ends, which have 8 bits unless asked.
    """

    bits: int
    shape: tuple[int, ...]
    outputs: int
    reading: Reading
    window: Window | None
    kind: str = "all"


@dataclass(frozen=True)
class Quantization:
    """layers, affines (channels of batch norms that stayed), idle modules, factors that neurons
    took over, attributes that are 1 now, means with a stated order; by qualified name. left: what
    stayed in float32, one sentence each. ranges, power_of_two: as they were asked for.
    """

    layers: Mapping[str, LayerRecord]
    affines: Mapping[str, int] = field(default_factory=dict)
    idle: tuple[str, ...] = ()
    neurons: Mapping[str, float] = field(default_factory=dict)
    attributes: tuple[Attribute, ...] = ()
    means: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    ranges: str = "mse"
    power_of_two: bool = False

    @property
    def bits(self) -> tuple[int, ...]:
        """All numbers of bits that weights have, the smallest first."""
        return tuple(sorted({layer.bits for layer in self.layers.values()}))

    def weight_bytes(self) -> int:
        """What the weights take when each has its own bits, with a scale and a bias of 4 bytes
        per output channel.
        """
        total = 0
        for layer in self.layers.values():
            total += (torch.Size(layer.shape).numel() * layer.bits + 7) // 8 + 8 * layer.outputs
        return total

    def text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def parsed(cls, text: str) -> "Quantization":
        """CheckpointError unless it is what `text` wrote."""
        try:
            return _parsed(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"the record of a quantized network cannot be read: {error}"
            ) from error

    def apply(self, model: nn.Module, trained: bool = False) -> nn.Module:
        """The same to a fresh model, in place: its modules, not its numbers, which a state dict
        brings. trained: with layers as they are in training. CheckpointError where the model has no
        such module.
        """
        try:
            for name, layer in self.layers.items():
                put(model, name, _in_training(layer) if trained else empty_layer(layer))
            for name, channels in self.affines.items():
                put(model, name, ChannelAffine(torch.ones(channels), torch.zeros(channels)))
            for name in self.idle:
                put(model, name, Idle())
            for name in self.means:
                put(model, name, cast(Any, model.get_submodule(name)).ordered())
            for name, factor in self.neurons.items():
                cast(Neuron, model.get_submodule(name)).rescale(factor)
        except AttributeError as error:
            raise CheckpointError(f"this quantized network is of another model: {error}") from error
        for attribute in self.attributes:
            attribute.set_to_one(model)
        object.__setattr__(model, RECORD, self)
        return model.eval()


def record_of(model: nn.Module) -> Quantization | None:
    """What was done to a model; None for one that was not quantized."""
    found = getattr(model, RECORD, None)
    return found if isinstance(found, Quantization) else None


def put(model: nn.Module, path: str, module: nn.Module) -> None:
    """A module in the place of another."""
    parent, _, name = path.rpartition(".")
    owner = model.get_submodule(parent)
    if name not in owner._modules:
        raise AttributeError(f"{type(model).__name__} has no module {path}")
    setattr(owner, name, module.eval())


def frozen(model: nn.Module) -> nn.Module:
    """A copy of a network in training, with the integers that its layers have now."""
    result = copy.deepcopy(model)
    for name, module in model.named_modules():
        if isinstance(module, TrainedLayer):
            put(result, name, module.frozen())
    object.__setattr__(result, RECORD, record_of(model))
    return result.eval().requires_grad_(False)


def _in_training(layer: LayerRecord) -> TrainedLayer:
    values = torch.ones(layer.outputs)
    return TrainedLayer(
        torch.zeros(layer.shape), values, values.clone(), layer.bits, layer.reading, layer.window
    )


def empty_layer(layer: LayerRecord) -> QuantizedLayer:
    weight, values = torch.zeros(layer.shape, dtype=torch.int8), torch.zeros(layer.outputs)
    return QuantizedLayer(weight, values, values.clone(), layer.bits, layer.reading, layer.window)


def _parsed(read: Any) -> Quantization:
    layers = {name: _layer(layer) for name, layer in read["layers"].items()}
    read["attributes"] = tuple(Attribute(**attribute) for attribute in read["attributes"])
    tuples = {name: tuple(read[name]) for name in ("idle", "means", "left")}
    return Quantization(**{**read, **tuples, "layers": layers})


def _layer(read: Any) -> LayerRecord:
    window = read["window"]
    if window is not None:
        padding = tuple((before, behind) for before, behind in window["padding"])
        lists = {name: tuple(window[name]) for name in ("stride", "dilation", "output_padding")}
        window = Window(**{**window, **lists, "padding": padding})
    reading = Reading(**read["reading"])
    return LayerRecord(
        **{**read, "shape": tuple(read["shape"]), "reading": reading, "window": window}
    )
