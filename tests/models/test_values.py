"""Which stored numbers become weights, and which are refused: a strict load never changes what a
file says."""

import pytest
import torch
from torch import nn

import spikedriven as sd
from spikedriven.cli import main
from spikedriven.errors import CheckpointError
from spikedriven.models.values import FLOATS, INTEGERS, as_weight, why_not_plain, with_map_axes

SMALL = {"embed_dim": 32, "depth": 1}
STEM = "stem.1.project.conv.weight"
FC1 = "blocks.0.mlp.fc1.project.conv.weight"


def network():
    return sd.create_model("sdt_2_256_cifar", **SMALL)


@pytest.fixture(scope="module")
def state():
    return network().state_dict()


ODD = {
    "sparse": (lambda w: w.to_sparse(), "sparse or opaque tensor"),
    "compressed sparse": (lambda w: w.flatten(1).to_sparse_csr(), "sparse or opaque tensor"),
    "quantized": (
        lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8),
        "a quantized tensor",
    ),
    "nested": (lambda w: torch.nested.nested_tensor([w[0], w[1]]), "a nested tensor"),
    "meta": (lambda w: w.to("meta"), "a tensor without values"),
    "complex": (lambda w: w * (1 + 1j), "complex numbers"),
    "complex NaN": (lambda w: torch.complex(w * float("nan"), w), "complex numbers"),
    "scales of MX": (
        lambda w: w.abs().to(torch.float8_e8m0fnu),
        "numbers of type torch.float8_e8m0fnu",
    ),
    "uninitialised": (
        lambda w: nn.UninitializedParameter(),
        "a parameter that was never initialised",
    ),
    "too large": (lambda w: w.double() + 1e300, "values too large for torch.float32"),
    "NaN": (lambda w: w * float("nan"), "NaN or infinite values"),
    "infinite": (
        lambda w: torch.full_like(w, float("inf")).to(torch.float8_e5m2),
        "NaN or infinite values",
    ),
    "integers": (
        lambda w: w.to(torch.int8),
        "numbers of type torch.int8 where the network has torch.float32",
    ),
    "truth values": (
        lambda w: w > 0,
        "numbers of type torch.bool where the network has torch.float32",
    ),
}


@pytest.mark.filterwarnings("ignore")  # PyTorch's own, of formats that it is about to change
@pytest.mark.parametrize("kind", ODD)
def test_values_that_are_no_weights(kind, state):
    make, message = ODD[kind]
    model, before = network(), {key: value.clone() for key, value in state.items()}
    model.load_state_dict(before)
    for strict in (True, False):
        with pytest.raises(
            CheckpointError, match=rf"holds .*{message}.* in {STEM}; nothing was loaded"
        ):
            sd.load_official(model, state | {STEM: make(state[STEM])}, strict=strict)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "kind", sorted(set(ODD) - {"uninitialised"})
)  # which torch.save writes as code
def test_nor_are_they_in_a_file(kind, state, tmp_path):
    make, message = ODD[kind]
    torch.save(state | {STEM: make(state[STEM])}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=message):
        sd.load_official(network(), tmp_path / "w.pth")


def test_convert_writes_nothing_of_a_file_that_overflows(tmp_path, capsys):
    state = sd.create_model("e_spikeformer_fashion").state_dict()
    key = "head.weight"
    torch.save(state | {key: state[key].double() + 1e300}, tmp_path / "w.pth")
    command = [
        "convert",
        "e_spikeformer_fashion",
        str(tmp_path / "w.pth"),
        str(tmp_path / "out.safetensors"),
    ]
    assert main([*command, "--model.args.levels", "8"]) == 2
    assert f"values too large for torch.float32 in {key}" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.safetensors*"))


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_floating_point_format_keeps_its_values(dtype, state):
    model, expected = network(), state[STEM].to(dtype).float()
    report = sd.load_official(model, state | {STEM: state[STEM].to(dtype)})
    assert torch.equal(model.state_dict()[STEM], expected)
    formats = f"from {dtype} to torch.float32".replace("torch.", "")
    assert report.converted == ({} if dtype is torch.float32 else {formats: 1})
    assert dtype is torch.float32 or f"converted: 1 tensors {formats}" in str(report)


def test_counters_keep_their_integers_from_any_format(state):
    counter = next(key for key in state if key.endswith("num_batches_tracked"))
    for dtype in (*FLOATS, *INTEGERS):
        model = network()
        sd.load_official(model, state | {counter: torch.tensor(3.0).to(dtype)})
        assert model.state_dict()[counter] == 3
    for value in (torch.tensor(2.5), torch.tensor(1e30)):
        with pytest.raises(CheckpointError, match=rf"values that torch.int64 has not in {counter}"):
            sd.load_official(network(), state | {counter: value})


def test_a_model_in_half_precision(state):
    model = network().half()
    sd.load_official(model, state)
    assert torch.equal(model.state_dict()[STEM], state[STEM].half())
    with pytest.raises(CheckpointError, match="values too large"):
        sd.load_official(model, state | {STEM: state[STEM] + 1e6})


def test_a_model_without_memory(state):
    with torch.device("meta"):
        model = network()
    with pytest.raises(CheckpointError, match="no memory for weights"):
        sd.load_official(model, state)


def test_shapes_are_equal_or_the_one_of_a_1x1_convolution(state):
    flat, (out, wide) = state[FC1][:, :, 0, 0], state[FC1].shape[:2]
    model = network()
    sd.load_official(model, state | {FC1: flat[..., None]})
    assert torch.equal(model.state_dict()[FC1], state[FC1])
    for value in (
        flat.T.contiguous()[..., None],
        flat,
        flat.reshape(out, 1, wide),
        flat[None],
        flat[..., None, None, None],
    ):
        with pytest.raises(
            CheckpointError,
            match=rf"1 misshapen:\n  {FC1}: expected \[{out}, {wide}, 1, 1\], found",
        ):
            sd.load_official(network(), state | {FC1: value})
    with pytest.raises(CheckpointError, match=r"head\.bias: expected \[10\], found \[10, 1\]"):
        sd.load_official(network(), state | {"head.bias": state["head.bias"][:, None]})


def test_map_axes_go_both_ways():
    row, square = torch.zeros(6, 4, 1), torch.zeros(6, 4, 1, 1)
    assert (
        with_map_axes(row, square).shape == square.shape
        and with_map_axes(square, row).shape == row.shape
    )
    for other in (torch.zeros(4, 6, 1), torch.zeros(6, 4, 3), torch.zeros(24, 1, 1)):
        assert with_map_axes(other, square).shape == other.shape


def test_integers_that_do_not_fit():
    assert as_weight(torch.tensor(-1, dtype=torch.int8), torch.tensor(0, dtype=torch.uint8))[1]
    assert as_weight(torch.tensor(300), torch.tensor(0, dtype=torch.uint8))[1]
    assert (
        as_weight(torch.tensor(True), torch.tensor(0))[1]
        and not as_weight(torch.tensor(True), torch.tensor(False))[1]
    )
    assert not why_not_plain(nn.Parameter(torch.ones(2)))
