"""A network of your own in one file: a neuron, an attention, a family. See docs/own_network.md.

spikedriven train agreement --plugin own_network
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from spikedriven.models import SpikeDrivenModel, Variant, register_family
from spikedriven.neurons import (
    LIFSpec,
    Neuron,
    NeuronChoice,
    NeuronFactory,
    fire,
    neuron_factory,
    register_neuron,
)
from spikedriven.recipes import register_recipes


@register_neuron("halving")
class Halving(Neuron):
    """Half of the membrane leaks in each step: a shift in hardware. A spike takes the threshold
    off."""

    def __init__(self, v_threshold: float = 1.0) -> None:
        super().__init__()
        self.v_threshold = v_threshold

    def forward(self, x: Tensor) -> Tensor:
        """x: current [T, ...]; returns spikes [T, ...]."""
        v, spikes = self.membrane, []
        for current in x.unbind(0):
            h = current if v is None else v - v / 2 + current
            s = fire(h - self.v_threshold, "triangle", alpha=1.0 / self.v_threshold)
            v = h - s.detach() * self.v_threshold
            spikes.append(s)
        self.keep(membrane=v)
        return torch.stack(spikes)

    def rescale(self, factor: float) -> None:
        """For `fuse`: fires for factor * x as it did for x."""
        self.v_threshold *= factor

    def spec(self) -> LIFSpec:
        """For `compile`: the engine has this neuron, a leak of 2 that the input does not share."""
        return LIFSpec(
            leak=2.0,
            threshold=self.v_threshold,
            rest=0.0,
            hard_reset=False,
            decay_input=False,
            parametric=False,
        )


class Layer(nn.Sequential):
    """Convolution and batch norm, step by step. [T, B, C, H, W]."""

    def __init__(self, inputs: int, outputs: int, size: int = 1, stride: int = 1) -> None:
        conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class Agreement(nn.Module):
    """Attention by masks and additions: a position passes the values of a head where its query and
    its key agree often enough."""

    def __init__(self, dim: int, heads: int, neuron: NeuronFactory) -> None:
        super().__init__()
        self.heads, self.fires, self.gate = heads, neuron(), neuron(v_threshold=0.5)
        self.q, self.k, self.v = (nn.Sequential(Layer(dim, dim), neuron()) for _ in range(3))
        self.out = Layer(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.fires(x)
        q, k, v = (part(spikes).unflatten(2, (self.heads, -1)) for part in (self.q, self.k, self.v))
        agreed = self.gate((q * k).sum(dim=3, keepdim=True))
        return self.out((agreed * v).flatten(2, 3))


class Block(nn.Module):
    """Attention and MLP, each on its own real-valued residual."""

    def __init__(self, dim: int, heads: int, neuron: NeuronFactory) -> None:
        super().__init__()
        self.attn = Agreement(dim, heads, neuron)
        self.mlp = nn.Sequential(neuron(), Layer(dim, 4 * dim), neuron(), Layer(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        return x + self.mlp(x)


class AgreementFormer(SpikeDrivenModel):
    """Two convolutions, each halving the image, then blocks."""

    def __init__(
        self,
        num_classes: int = 10,
        in_chans: int = 1,
        img_size: int = 28,
        time_steps: int = 2,
        output: str = "mean",
        dim: int = 32,
        depth: int = 1,
        heads: int = 4,
        neuron: NeuronChoice = "halving",
    ) -> None:
        super().__init__(num_classes, in_chans, img_size, time_steps, output, input_layout="image")
        make, half = neuron_factory(neuron), dim // 2
        self.stem = nn.Sequential(Layer(in_chans, half, 3, 2), make(), Layer(half, dim, 3, 2))
        self.blocks = nn.ModuleList(Block(dim, heads, make) for _ in range(depth))
        self.last, self.head = make(), nn.Linear(dim, num_classes)
        maps = {"num_chs": dim, "reduction": 4}
        self.feature_info = [{**maps, "module": f"blocks.{i}"} for i in range(depth)]

    def body(self) -> list[tuple[str, nn.Module]]:
        blocks = [(f"blocks.{i}", block) for i, block in enumerate(self.blocks)]
        return [("stem", self.stem), *blocks]

    def head_forward(self, pooled: Tensor, pre_logits: bool = False) -> Tensor:
        """A neuron in front of the classifier: its products are additions too."""
        spikes = self.last(pooled)
        return spikes if pre_logits else self.head(spikes)


variants = {"agreement_1_32": Variant({"dim": 32}, num_classes=10, input_size=(1, 28, 28))}
register_family(AgreementFormer, variants)
register_recipes(Path(__file__).parent)
