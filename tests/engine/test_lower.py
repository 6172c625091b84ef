"""From graphs to plans: with weights that the engine holds exactly, a program is its network."""

import collections
import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spikedriven as sd
from spikedriven.engine import Program
from spikedriven.engine.check import check_plan
from spikedriven.engine.lower import lower
from spikedriven.engine.program import LinearAttention, Plan, WeightLayer
from spikedriven.errors import InputError
from spikedriven.kernels.extension import available
from spikedriven.neurons import LIF, IntegerNeuron, lif
from tests.engine.exact import exact, halves
from tests.engine.nets import thin_plan
from tests.foreign.networks import FOREIGN, Foreign
from tests.networks import live_input, live_model, shrunk

#: Its neuron has no spec.
COMPILED = [one for one in FOREIGN if one.name != "own_neuron"]
#: Forms of attention are tested in a smaller network below.
LONG = (
    "attention_qk_before",
    "attention_kv_between",
    "attention_einsum_qk",
    "attention_einsum_kv",
    "integer_attention",
)
LONG_NAMES = (
    "sdt_2_256_cifar10dvs",
    "spikingformer_8_384",
    "e_spikeformer_gesture_6m",
    "meta_spikeformer_15m",
    "e_spikeformer_5m",
    "spikingformer_2_256_dvs",
    "spikformer_8_384",
    "spikformer_4_384_cifar",
)


def assert_program_is(network: nn.Module, *inputs: Tensor) -> Program:
    """The program gives what the network gives in float64, but for the rounding of float32; the
    compiled engine gives the bits of the twin."""
    plan = lower(network, inputs).plan()
    check_plan(plan)
    twin = Program(plan, native=False)
    found = as_tuple(twin(*inputs))
    for value, expected in zip(found, as_tuple(in_float64(network, *inputs)), strict=True):
        largest = float(expected.abs().max())
        assert largest > 0
        torch.testing.assert_close(value.double(), expected, rtol=0, atol=1e-5 * largest)
    if available():
        for (where, a), (_, b) in zip(
            twin.maps(*(x[:1] for x in inputs)),
            Program(plan, native=True).maps(*(x[:1] for x in inputs)),
            strict=True,
        ):
            assert torch.equal(a, b), where
    return twin


def as_tuple(found) -> tuple[Tensor, ...]:
    return tuple(found) if isinstance(found, tuple | list) else (found,)


def in_float64(network: nn.Module, *inputs: Tensor):
    model = copy.deepcopy(network).double().eval()
    with torch.no_grad():
        return getattr(model, getattr(model, "graph_method", "forward"))(
            *(x.double() for x in inputs)
        )


def kinds_of(plan: Plan) -> collections.Counter:
    return collections.Counter(type(operation).__name__ for operation in plan.operations)


# Whole networks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "one",
    [pytest.param(one, marks=[pytest.mark.slow] if one.name in LONG else []) for one in COMPILED],
    ids=str,
)
def test_networks_of_strangers(one: Foreign) -> None:
    network = exact(one.build())
    program = assert_program_is(network, *(halves(*x.shape) for x in one.inputs(3)))
    assert program.plan.time_steps == (1 if one.levels > 1 else one.steps)


@pytest.mark.parametrize(
    "name",
    [
        "sdt_2_256_cifar",
        *(pytest.param(name, marks=pytest.mark.slow)
          for name in LONG_NAMES),
    ],
)  # fmt: skip
def test_registered_networks(name: str) -> None:
    network = exact(live_model(name, **shrunk(name)).float())
    assert_program_is(network, halves(*live_input(network, 2).shape))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "sdt_2_256_cifar10dvs",
            {"Image": 1, "WeightLayer": 11, "Pool": 5, "MaskedAttention": 1, "Fire": 2, "Head": 1},
        ),
        (
            "spikingformer_8_384",
            {
                "Image": 1,
                "WeightLayer": 11,
                "Pool": 5,
                "LinearAttention": 1,
                "TimeMean": 1,
                "Head": 1,
            },
        ),
    ],
)
def test_operations_are_merged(name: str, expected: dict[str, int]) -> None:
    """Residuals and neurons are parts of weight layers; attention is one operation."""
    assert kinds_of(thin_plan(name)) == collections.Counter(expected)


# Attention ----------------------------------------------------------------------------------------

STEPS, HEADS, WIDTH = 2, 2, 8
Tensors = tuple[Tensor, Tensor, Tensor]


class Attends(nn.Module):
    """Images -> tokens [T, B, heads, N, d] -> attention as a function writes it -> neuron -> [B,
    3]."""

    def __init__(
        self,
        attend: Callable[[Tensor, Tensor, Tensor], Tensor],
        neuron: Callable[[], nn.Module] = LIF,
    ):
        super().__init__()
        self.attend = attend
        self.patches = nn.Conv2d(3, WIDTH, 2, 2)
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.fires = nn.ModuleList(neuron() for _ in range(5))
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2).expand(STEPS, -1, -1, -1)
        x = self.fires[0](x)
        q, k, v = (
            fire(layer(x)).unflatten(-1, (HEADS, -1)).transpose(2, 3)
            for fire, layer in zip(self.fires[1:], (self.q, self.k, self.v), strict=False)
        )
        y = self.fires[4](self.attend(q, k, v)).transpose(2, 3).flatten(3)
        return self.head(y).mean((0, 2))


def by_bmm(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    flat = [x.flatten(0, 2) for x in (q, k, v)]
    return torch.bmm(flat[0], torch.bmm(flat[1].transpose(1, 2), flat[2])).reshape(v.shape)


FORMS = {
    "(qk)v": lambda q, k, v: (q @ k.transpose(-2, -1)) @ v * 0.5,
    "q(kv)": lambda q, k, v: q @ ((k.transpose(-2, -1) @ v) * 0.25),
    "scaled first": lambda q, k, v: (q * 0.5) @ (k.transpose(-2, -1) @ v),
    "transposed": lambda q, k, v: (
        (v.transpose(-2, -1) @ (k @ q.transpose(-2, -1))).transpose(-2, -1) * 0.5
    ),
    "v^T k, then q": lambda q, k, v: q @ (v.transpose(-2, -1) @ k).transpose(-2, -1) / 2,
    "bmm": by_bmm,
    "einsum": lambda q, k, v: torch.einsum(
        "tbhnm,tbhme->tbhne", torch.einsum("tbhnd,tbhmd->tbhnm", q, k), v
    ),
    "einsum of three": lambda q, k, v: torch.einsum("tbhnd,tbhmd,tbhme->tbhne", q, k, v),
}


@pytest.mark.parametrize("form", FORMS)
def test_linear_attention_however_it_is_written(form: str) -> None:
    program = assert_program_is(exact(Attends(FORMS[form])), halves(3, 3, 8, 8))
    assert kinds_of(program.plan)["LinearAttention"] == 1


class Unfired(Attends):
    """No neuron behind the product: a layer reads it, and a residual."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.fires[0](self.patches(x).flatten(2).transpose(1, 2).expand(STEPS, -1, -1, -1))
        q, k, v = (
            fire(layer(x)).unflatten(-1, (HEADS, -1)).transpose(2, 3)
            for fire, layer in zip(self.fires[1:], (self.q, self.k, self.v), strict=False)
        )
        y = self.attend(q, k, v).transpose(2, 3).flatten(3)
        return self.head(self.fires[4](self.q(x) + y)).mean((0, 2)) + y.mean((0, 2)).mean(
            -1, keepdim=True
        )


def test_linear_attention_without_a_neuron_gives_real_values() -> None:
    program = assert_program_is(exact(Unfired(FORMS["(qk)v"])), halves(3, 3, 8, 8))
    (attention,) = [o for o in program.plan.operations if isinstance(o, LinearAttention)]
    assert attention.neuron is None and program.plan.maps[attention.out].kind == "real"


def test_linear_attention_on_counts() -> None:
    network = Attends(FORMS["(qk)v"], lambda: IntegerNeuron(4))
    program = assert_program_is(exact(network), halves(3, 3, 8, 8))
    assert kinds_of(program.plan)["LinearAttention"] == 1


def masked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (k * v).sum(-2, keepdim=True)


class MaskAndAdd(Attends):
    """``q * fire(sum over tokens of k * v)`` on tokens."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.fires[0](self.patches(x).flatten(2).transpose(1, 2).expand(STEPS, -1, -1, -1))
        q, k, v = (
            fire(layer(x))
            for fire, layer in zip(self.fires[1:4], (self.q, self.k, self.v), strict=True)
        )
        return self.head(q * self.fires[4](masked(q, k, v))).mean((0, 2))


class TokenAttention(Attends):
    """QKFormer's: ``k * fire(sum over the channels of a head of q)``."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.fires[0](self.patches(x).flatten(2).transpose(1, 2).expand(STEPS, -1, -1, -1))
        q, k = (
            fire(layer(x)) for fire, layer in zip(self.fires[1:3], (self.q, self.k), strict=True)
        )
        q, k = (y.unflatten(-1, (HEADS, -1)).transpose(2, 3) for y in (q, k))
        y = k * self.fires[4](q.sum(-1, keepdim=True))
        return self.head(y.transpose(2, 3).flatten(3)).mean((0, 2))


def test_mask_and_add_on_tokens_is_one_operation() -> None:
    program = assert_program_is(exact(MaskAndAdd(masked)), halves(3, 3, 8, 8))
    assert kinds_of(program.plan)["MaskedAttention"] == 1


def test_token_attention() -> None:
    assert_program_is(exact(TokenAttention(masked)), halves(3, 3, 8, 8))


# Time ---------------------------------------------------------------------------------------------


class Loop(nn.Module):
    """Frames [B, T, 2, H, W], one step after the other. how: what becomes of the steps."""

    def __init__(self, how: str):
        super().__init__()
        self.conv, self.norm, self.fc = (
            nn.Conv2d(2, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.Linear(6, 3),
        )
        self.again = nn.Conv2d(6, 6, 3, padding=1)
        self.how = how

    def forward(self, frames: Tensor) -> Tensor:
        first = second = None
        found = []
        for t in range(3):
            spikes, first = lif(self.norm(self.conv(frames[:, t]))[None], first)
            spikes, second = lif(self.again(spikes[0])[None], second)
            found.append(self.fc(spikes[0].amax((2, 3))))
        return {
            "mean": lambda: torch.stack(found).mean(0),
            "steps": lambda: torch.stack(found),
            "sum": lambda: (found[0] + found[1] + found[2]) / 3,
            "last": lambda: found[2],
            "front": lambda: torch.stack(found, dim=1).mean(1),
        }[self.how]()


@pytest.mark.parametrize("how", ["mean", "steps", "sum", "last", "front"])
def test_a_loop_over_time_becomes_one_layer_each(how: str) -> None:
    program = assert_program_is(exact(Loop(how)), halves(2, 3, 2, 8, 8))
    assert program.plan.time_steps == 3 and kinds_of(program.plan)["WeightLayer"] == 2


class Still(nn.Module):
    """A picture that is shown three times, by a loop."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6 * 36, 3)

    def forward(self, image: Tensor) -> Tensor:
        membrane, total = None, 0.0
        for _ in range(3):
            spikes, membrane = lif(self.conv(image)[None], membrane)
            total = total + self.fc(spikes[0].flatten(1))
        return total


def test_a_picture_in_a_loop() -> None:
    program = assert_program_is(exact(Still()), halves(2, 3, 6, 6))
    layers = [
        operation for operation in program.plan.operations if isinstance(operation, WeightLayer)
    ]
    assert len(layers) == 1 and program.plan.maps[layers[0].source].steps == 1


class Backwards(Loop):
    """Two neurons that exchange their membranes from step to step."""

    def forward(self, frames: Tensor) -> Tensor:
        first = second = None
        for t in range(3):
            one, first = lif(self.conv(frames[:, t])[None], second)
            two, second = lif(self.again(one[0])[None], first)
        return two[0].mean((2, 3))


def test_membranes_of_another_neuron_are_told() -> None:
    with pytest.raises(InputError, match=r"(?s)membrane|step"):
        lower(exact(Backwards("")), (halves(2, 3, 2, 8, 8),))


# Layers -------------------------------------------------------------------------------------------


class Around(nn.Module):
    """Convolution, neuron, something on the spikes [T * B, 8, 6, 6], a second layer on what it
    gives."""

    def __init__(
        self,
        something: Callable[[Tensor], Tensor],
        neuron: Callable[[], nn.Module] = LIF,
        inputs: int = 8,
    ):
        super().__init__()
        self.conv, self.fire = nn.Conv2d(3, 8, 3, padding=1), neuron()
        self.something, self.last = something, nn.Conv2d(inputs, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.fire(self.conv(x).expand(STEPS, *(-1,) * 4)).flatten(0, 1)
        return self.last(self.something(spikes)).unflatten(0, (STEPS, -1)).mean(0)


SOMETHING: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "chunk": (lambda x: torch.cat([x.chunk(2, 1)[1], x[:, :2]], 1), 6),
    "swap": (lambda x: x[:, [3, 1, 0, 2]], 4),
    "roll": (lambda x: x.roll(1, dims=1), 8),
    "flip": (lambda x: x.flip(3), 8),
    "crop": (lambda x: x[..., 1:5, ::2], 8),
    "shuffle": (lambda x: F.pixel_shuffle(x, 2), 2),
    "unshuffle": (lambda x: F.pixel_unshuffle(x, 2), 32),
    "nearest": (lambda x: F.interpolate(x, scale_factor=2.0), 8),
    "bilinear": (lambda x: F.interpolate(x, size=(5, 9), mode="bilinear", align_corners=True), 8),
    "average": (lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), 8),
    "adaptive": (lambda x: F.adaptive_avg_pool2d(x, (4, 5)), 8),
    "shifted": (lambda x: 1 - x, 8),
    "scaled": (lambda x: x * torch.arange(8).view(-1, 1, 1), 8),
    "positions": (lambda x: x + torch.linspace(-1, 1, 36).view(6, 6), 8),
    "relu": (lambda x: torch.relu(x * 2 - 1), 8),
    "gate": (lambda x: x * x.amax((2, 3), keepdim=True), 8),
    "half": (lambda x: x[:, :4] * 0.5 + x[:, 4:], 4),
    "rows": (lambda x: x.mean(2, keepdim=True), 8),
    "share": (lambda x: x / (x.sum(1, keepdim=True) + 1), 8),
    "border": (lambda x: F.pad(x, (1, 2, 0, 1)), 8),
    "border of ones": (lambda x: F.pad(x, (1, 0, 0, 2), value=1.0), 8),
    "tokens": (lambda x: x.flatten(2).transpose(1, 2).unflatten(1, (6, 6)).permute(0, 3, 2, 1), 8),
}


@pytest.mark.parametrize("name", SOMETHING)
def test_operations_between_layers(name: str) -> None:
    function, inputs = SOMETHING[name]
    assert_program_is(exact(Around(function, inputs=inputs)), halves(2, 3, 6, 6))


def test_sums_of_counts_stay_counts() -> None:
    network = exact(Around(lambda x: x + x.flip(1), lambda: IntegerNeuron(4)))
    program = assert_program_is(network, halves(2, 3, 6, 6))
    assert max(m.levels for m in program.plan.maps if m.kind == "spikes") == 8
    assert all(
        o.mode != "float"
        for o in program.plan.operations[1:]
        if isinstance(o, WeightLayer) and o.source
    )


# What is refused ----------------------------------------------------------------------------------


class Refused(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.act = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.first(x))
        return torch.softmax(self.second(x).mean((2, 3)), 1)


def test_all_that_cannot_be_compiled_is_told_at_once() -> None:
    with pytest.raises(InputError) as told:
        sd.compile(Refused(), torch.ones(2, 3, 8, 8))
    lines = str(told.value).splitlines()
    assert lines[0] == "the engine cannot compile 2 places of this network:"
    assert "gelu (aten::gelu) in act: the engine has no operation" in lines[1]
    assert (
        "softmax (aten::softmax) in the model itself" in lines[2]
        and "put a spiking neuron" in lines[2]
    )


class OverBatch(nn.Module):
    """A neuron that takes the batch for time."""

    def __init__(self):
        super().__init__()
        self.conv, self.fire, self.other = nn.Conv2d(3, 4, 3), LIF(), LIF()

    def forward(self, x: Tensor) -> Tensor:
        y = self.other(self.conv(x).expand(2, -1, -1, -1, -1)).flatten(0, 1)
        return self.fire(y).unflatten(0, (2, -1)).mean((0, 3, 4))


def test_time_that_is_mixed_with_the_batch() -> None:
    with pytest.raises(InputError, match="samples of a batch would disturb one another"):
        lower(OverBatch(), (torch.zeros(2, 3, 8, 8),))


def test_a_neuron_behind_one_product_alone_is_named() -> None:
    """Spikes of an attention map: the engine has no map of pairs of tokens."""
    network = Attends(lambda q, k, v: LIF()(q @ k.transpose(-2, -1)) @ v)
    with pytest.raises(InputError, match=r"no part of q \(k\^T v\); multiply it with the third"):
        lower(network.eval(), (torch.zeros(2, 3, 8, 8),))


def test_the_network_is_not_changed() -> None:
    network = exact(Around(torch.relu))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    lower(network, (halves(2, 3, 6, 6),))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert np.isfinite(float(next(iter(before.values())).sum()))
