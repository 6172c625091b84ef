"""`quantize`: what becomes of layers, and how near they stay; the record; training forms."""

import copy

import pytest
import torch
from torch import nn

import spikedriven as sd
from spikedriven.errors import CheckpointError, FoldWarning, InputError
from spikedriven.graph.quantization import Quantization, frozen
from spikedriven.graph.quantize import trainable_copy
from spikedriven.graph.ranges import reading_of, rounded, weight_steps
from spikedriven.graph.seen import Seen
from spikedriven.layers.quantized import QuantizedLayer, Reading, Window, integer_conv
from spikedriven.layers.quantized_training import TrainedLayer
from spikedriven.neurons import LIF
from tests.engine.nets import thin


class Net(nn.Module):
    """[B, 2, 8, 8] -> [B, 3]: a layer on the input, one on spikes, two in a row, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.fire = (
            nn.Conv2d(2, 6, 3, padding=1, bias=False),
            nn.BatchNorm2d(6),
            LIF(),
        )
        self.body, self.depthwise = (
            nn.Conv2d(6, 6, 3, padding=1),
            nn.Conv2d(6, 6, 3, padding=1, groups=6),
        )
        self.pointwise, self.fire2 = nn.Conv2d(6, 6, 1), LIF(v_threshold=0.3)
        self.head = nn.Linear(6 * 64, 3)

    def forward(self, x):
        x = x.unsqueeze(0).expand(2, *x.shape).flatten(0, 1)
        x = self.fire(self.norm(self.first(x)).unflatten(0, (2, -1))).flatten(0, 1)
        x = self.body(x) + self.pointwise(self.depthwise(x))
        return self.head(self.fire2(x.unflatten(0, (2, -1))).flatten(2)).mean(0)


def made(seed: int = 0) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(seed)
    net, x = Net().eval(), torch.randn(4, 2, 8, 8)
    sd.calibrate(net, x)
    return net, x


def test_the_module_is_like_the_one_it_came_from() -> None:
    net, x = made()
    before = copy.deepcopy(net.state_dict())
    small = sd.quantize(net, x, weight_bits=4)
    assert type(small) is Net and not small.training and small(x).shape == (4, 3)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    names = ["first", "body", "depthwise", "pointwise", "head"]
    assert [name for name, m in small.named_modules() if isinstance(m, QuantizedLayer)] == names
    weights = {name: small.get_submodule(name).weight for name in names}
    assert {weight.dtype for weight in weights.values()} == {torch.int8}
    assert {
        name: int(w.abs().max()) for name, w in weights.items() if name in ("first", "body", "head")
    } == {"first": 127, "body": 7, "head": 127}
    assert small.quantization.bits == (4, 8)


def test_a_network_of_eight_bits_stays_near() -> None:
    """Layer by layer on the same input; the depthwise one gives its values above zero for the
    one behind it.
    """
    net, x = made()
    folded, small = sd.fuse(net, x, check=False), sd.quantize(net, x)
    read: list[torch.Tensor] = []
    folded.body.register_forward_pre_hook(lambda _m, args: read.append(args[0]))
    folded(x)
    spikes = read[0]
    for name, given in (("first", x), ("body", spikes)):
        expected, found = folded.get_submodule(name)(given), small.get_submodule(name)(given)
        assert (found - expected).abs().max() < 0.02 * expected.abs().max(), name
    expected, found = (
        folded.pointwise(folded.depthwise(spikes)),
        small.pointwise(small.depthwise(spikes)),
    )
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()
    assert small.pointwise.reading.low == 0.0 and small.pointwise.reading.offset < 0.0


def test_bits_by_patterns() -> None:
    net, x = made()
    record = sd.quantize(
        net, x, weight_bits={"head": 8, "*wise": 3, "*": 2}, ranges="max"
    ).quantization
    assert {name: layer.bits for name, layer in record.layers.items()} == {
        "first": 2, "body": 2, "depthwise": 3, "pointwise": 3, "head": 8
    }  # fmt: skip
    with pytest.raises(InputError, match='no pattern of weight_bits fits body; add "\\*"'):
        sd.quantize(net, x, weight_bits={"first": 8, "head": 8})


@pytest.mark.parametrize("bits", [1, 9, 23, 8.0, {"*": 0}])
def test_other_bits_are_refused(bits: object) -> None:
    with pytest.raises(InputError, match=r"weight_bits must be one of \(2, 3, 4, 5, 6, 7, 8, 16\)"):
        sd.quantize(*made(), weight_bits=bits)


def test_what_is_refused() -> None:
    net, x = made()
    with pytest.raises(InputError, match="ranges must be one of"):
        sd.quantize(net, x, ranges="median")
    with pytest.raises(InputError, match="first read nothing but zeros on the calibration images"):
        sd.quantize(net, torch.zeros_like(x))
    with pytest.raises(InputError, match="quantized already"):
        sd.quantize(sd.quantize(net, x), x)


class Inside(Net):
    """With a mean of real values in its forward."""

    def forward(self, x):
        return super().forward(x) + self.first(x).mean((1, 2, 3))[:, None]


def test_what_stays_is_told() -> None:
    torch.manual_seed(0)
    net, x = Inside().eval(), torch.randn(4, 2, 8, 8)
    sd.calibrate(net, x)
    with pytest.warns(
        FoldWarning, match="not everything is quantized.*\n.*a mean of real values inside a forward"
    ):
        sd.quantize(net, x)


# Ranges
# --------------------------------------------------------------------------------------------------


def test_steps_of_weights() -> None:
    rows = torch.tensor([[0.5, -1.0, 0.25], [0.0, 0.0, 0.0]], dtype=torch.float64)
    ones = torch.ones(1, 3, dtype=torch.float64)
    step = weight_steps(rows, 4, 1, ones, "max", power_of_two=False)
    assert step.tolist() == [1 / 7, 1.0]
    assert weight_steps(rows, 4, 1, ones, "max", power_of_two=True).tolist() == [0.25, 1.0]
    assert rounded(rows, step, 4).tolist() == [[4, -7, 2], [0, 0, 0]]


def test_the_least_error_is_that_of_what_is_multiplied() -> None:
    """One large weight that is hardly ever multiplied may be cut off."""
    rows = torch.tensor([[4.0, 1.0, -1.0, 1.0]], dtype=torch.float64)
    seldom = torch.tensor([[1e-6, 1.0, 1.0, 1.0]], dtype=torch.float64)
    assert weight_steps(rows, 2, 1, seldom, "mse", False).item() == pytest.approx(1.0, abs=0.06)
    assert weight_steps(rows, 2, 1, torch.ones_like(seldom), "max", False).item() == 4.0


def test_sums_of_wide_weights_fit() -> None:
    rows = torch.full((1, 60000), 1.0, dtype=torch.float64)
    step = weight_steps(rows, 16, 255, torch.ones(1, 1, dtype=torch.float64), "max", False)
    assert rounded(rows, step, 16).sum().item() * 255 <= 2**31 - 1


def test_readings_of_real_values() -> None:
    def seen(low: float, high: float, grid: float = 0.0) -> Seen:
        values = torch.linspace(low, high, 100, dtype=torch.float64)
        return Seen(values[:1], values[:1], low, high, values, grid)

    found = reading_of("x", seen(-1.0, 3.0), "max")
    zero = -found.low / found.unit
    assert zero == pytest.approx(round(zero), abs=1e-5) and found.low <= -1.0 + found.unit
    assert found.low + found.levels * found.unit >= 3.0 - found.unit
    assert reading_of("x", seen(0.0, 7.0, grid=1.0), "mse") == Reading(1.0, 255)
    assert reading_of("x", seen(-2.0, 2.5, grid=0.5), "mse") == Reading(0.5, 255, -2.0, -2.0)
    assert reading_of("x", seen(0.0, 300.0, grid=1.0), "max").unit > 1.0
    assert reading_of("x", seen(0.5, 3.0), "max").low == 0.0


# Layers
# --------------------------------------------------------------------------------------------------


def test_a_layer_by_hand() -> None:
    """Counts 1, 2 of 0.5; weights 3, -1; scale 0.25; bias 1: (3 * 1 - 1 * 2) * 0.25 + 1."""
    layer = QuantizedLayer(
        torch.tensor([[3, -1]]), torch.tensor([0.25]), torch.tensor([1.0]), 3, Reading(0.5, 4)
    )
    assert layer(torch.tensor([[0.5, 1.0]])).tolist() == [[1.25]]
    assert layer(torch.tensor([[9.0, -9.0]])).tolist() == [[4.0]]  # counts end at 0 and 4


def test_large_sums_are_exact() -> None:
    """2^24 + 1 is no number of float32: sums that may reach it are made in float64."""
    weight = torch.full((1, 2**17, 1, 1), 127, dtype=torch.int8)
    weight[0, 0] = 1
    x = torch.ones(1, 2**17, 1, 1)
    one = torch.ones(1)
    found = integer_conv(x, weight, one, torch.zeros(1), [1, 1], [0] * 4, [1, 1], 1, 1.0, 0.0, 255)
    assert found.item() == torch.tensor(float(127 * (2**17 - 1) + 1)).item()


def test_autocast_leaves_sums_alone() -> None:
    layer = QuantizedLayer(torch.ones(1, 1000), torch.ones(1), torch.zeros(1), 2, Reading(1.0, 1))
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.ones(1, 1000)).item() == 1000.0


@pytest.mark.parametrize("name", ["meta_spikeformer_hardvs_18m"])
def test_streams_and_feature_maps(name: str) -> None:
    model, batch = thin(name)
    small = sd.quantize(model, batch)
    frames, state = (
        batch if batch.ndim == 5 else batch[:, None].expand(-1, model.time_steps, *batch.shape[1:]),
        None,
    )
    with torch.no_grad():
        for t in range(frames.shape[1]):
            _, state = small.step(frames[:, t], state)
        torch.testing.assert_close(state.logits, small(batch))
        assert [x.shape for x in small.forward_intermediates(batch)[1]] == [
            x.shape for x in model.forward_intermediates(batch)[1]
        ]


# The record
# --------------------------------------------------------------------------------------------------


def test_the_record_makes_the_same_module_of_a_fresh_model() -> None:
    net, x = made()
    small = sd.quantize(net, x, weight_bits=3)
    again = Quantization.parsed(small.quantization.text())
    assert again == small.quantization
    fresh = again.apply(made(1)[0])
    fresh.load_state_dict(small.state_dict())
    assert torch.equal(fresh(x), small(x))
    with pytest.raises(CheckpointError, match="of another model"):
        again.apply(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(CheckpointError, match="cannot be read"):
        Quantization.parsed('{"layers": 3}')


# Training
# --------------------------------------------------------------------------------------------------


def test_a_network_in_training_computes_what_its_frozen_form_computes() -> None:
    net, x = made()
    trained = trainable_copy(net, x, 4)
    assert trained.training and all(p.requires_grad for p in trained.parameters())
    small = frozen(trained)
    assert torch.equal(trained.eval()(x), small(x))
    rounded_only = sd.quantize(net, x, 4)
    for name in small.quantization.layers:
        assert torch.equal(
            small.get_submodule(name).weight, rounded_only.get_submodule(name).weight
        )


def test_gradients_of_a_layer() -> None:
    """Straight through for weights within the range, none beyond; of the step as LSQ has it."""
    layer = TrainedLayer(
        torch.tensor([[0.34, 9.0]]), torch.tensor([0.5]), torch.zeros(1), 2, Reading(1.0, 1)
    )
    layer(torch.tensor([[1.0, 1.0]])).sum().backward()
    assert layer.weight.grad.tolist() == [[1.0, 0.0]]
    # 0.34 / 0.5 is 0.68, rounded up by 0.32; 9 is cut off at 1; divided by the root of two weights
    assert layer.step.grad.item() == pytest.approx((0.32 + 1.0) / 2**0.5, abs=1e-6)


def test_training_makes_two_bits_better() -> None:
    torch.manual_seed(0)
    x, target = torch.rand(64, 8).round(), torch.randn(64, 4)
    layer = TrainedLayer(
        torch.randn(4, 8), torch.full((4,), 1.5), torch.zeros(4), 2, Reading(1.0, 1)
    )
    losses = []
    optimizer = torch.optim.Adam(layer.parameters(), 0.02)
    for _ in range(60):
        loss = (layer(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    small = layer.eval().frozen()
    assert set(small.weight.flatten().tolist()) <= {-1, 0, 1} and torch.equal(layer(x), small(x))


def test_transposed_and_strange_windows_train_too() -> None:
    windows = [
        (
            torch.randn(4, 3, 2, 2),
            6,
            Window((2, 2), ((0, 0), (0, 0)), (1, 1), 2, True, (1, 1)),
            (2, 4, 5, 5),
        ),
        (torch.randn(6, 2, 3), 6, Window((1,), ((1, 2),), (2,), 2), (2, 4, 9)),
    ]
    for weight, outputs, window, shape in windows:
        layer = TrainedLayer(
            weight, torch.full((outputs,), 0.1), torch.zeros(outputs), 4, Reading(1.0, 3), window
        )
        x = torch.randint(0, 4, shape).float()
        y = layer(x)
        y.sum().backward()
        assert torch.equal(layer.eval()(x), layer.frozen()(x)) and layer.weight.grad.abs().sum() > 0


# Energy and audit
# --------------------------------------------------------------------------------------------------


def test_energy_and_audit_know_the_bits() -> None:
    """Of 8 bits an addition costs 0.03 pJ, of 4 half of that; an 8-bit multiplication 0.2 pJ."""
    net, x = made()
    small = sd.quantize(net, x, {"first": 8, "*": 4})
    report = sd.energy(small, x)
    rows = {row.name: row for row in report.rows}
    assert (
        report.technology.name == "weights"
        and rows["first"].weight_bits == 8
        and rows["body"].weight_bits == 4
    )
    assert rows["body"].arithmetic_pj == pytest.approx(0.015 * rows["body"].acs)
    assert rows["first"].arithmetic_pj == pytest.approx(0.23 * rows["first"].macs)
    assert sd.energy(small, x, technology="int8").technology.name == "int8"
    audit = sd.audit(small, x)
    assert audit.weight_bits == {4: 4, 8: 1} and "4 of 4 bits, 1 of 8 bits" in str(audit)
    assert sd.audit(net, x).weight_bits == {}
