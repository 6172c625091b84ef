"""What a fold is: the layers, norms and factors of one place, and what takes them."""

from dataclasses import dataclass

from torch import Tensor

from spikedriven.graph.attributes import Attribute
from spikedriven.graph.chains import Chain
from spikedriven.graph.nodes import Node
from spikedriven.graph.sums import Summand


@dataclass(frozen=True)
class Backward:
    """Steps that go into the weight layer before them. calls: one chain for each call of that
    layer, all alike.

    place: the module that becomes the one layer; "" where the first layer stays and only its
    numbers change. idle: modules that have nothing left to do. attributes: factors of forwards that
    are 1 from now on.
    """

    calls: tuple[Chain, ...]
    place: str
    idle: tuple[str, ...]
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True)
class End:
    """A weight layer or neuron that takes a factor. degree: how often it takes it (twice behind a
    product of two).

    elements: for a factor per channel, which of its elements belongs to each input channel; None
    for one number.
    """

    node: Node
    degree: int = 1
    elements: Tensor | None = None


@dataclass(frozen=True)
class Forward:
    """An affine node that goes into what reads it. calls: all calls of its module. idle: that
    module, or "" where the node stands in a forward and goes away with an attribute.
    """

    calls: tuple[Node, ...]
    ends: tuple[End, ...]
    idle: str
    attribute: Attribute | None = None


@dataclass(frozen=True)
class Spread:
    """A norm or factor that goes back into several weight layers, through sums and means of what
    they put out.

    layers: each weight layer with what it takes, and the module that took its chain ("" for none).
    calls, idle, attribute: as `Forward`.
    """

    calls: tuple[Node, ...]
    layers: tuple[tuple[Summand, str], ...]
    idle: str
    attribute: Attribute | None


@dataclass(frozen=True)
class Left:
    """What stays as it is. module, what: the place; reason; remedy: what to write instead."""

    module: str
    what: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.module or 'the model itself'} ({self.what}): {self.reason}; {self.remedy}"
