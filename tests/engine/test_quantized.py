"""Programs of quantized modules: the same bits, for every registered name and every instruction
set.
"""

import pytest
import torch
from torch import Tensor, nn

import spikedriven as sd
from spikedriven.engine import Program
from spikedriven.engine.program import WeightLayer
from spikedriven.errors import InputError
from spikedriven.kernels.extension import available, instruction_sets
from tests.engine.nets import thin
from tests.engine.same import check_same

#: Between them: LIF and counts, images and frames, separable convolutions, means in front of heads.
DEFAULT = ("spikingformer_4_256_cifar", "meta_spikeformer_hardvs_18m")


def names() -> list:
    return [
        name if name in DEFAULT else pytest.param(name, marks=pytest.mark.slow)
        for name in sd.list_models()
    ]


@pytest.mark.parametrize("name", names())
def test_programs_have_the_bits_of_their_modules(name: str) -> None:
    model, batch = thin(name)
    quantized = sd.quantize(model, batch)
    program = sd.compile(quantized, batch)
    assert check_same(quantized, program, (batch,)) >= 8
    layers = [
        operation for operation in program.plan.operations if isinstance(operation, WeightLayer)
    ]
    assert {str(layer.weight.dtype) for layer in layers} == {"int8"}
    twin = Program(program.plan, native=False)
    assert torch.equal(twin(batch[:1]), program(batch[:1]))
    if available():
        for isa in instruction_sets():
            other = Program(program.plan, native=True, isa=isa)
            other.threads = 2
            assert torch.equal(other(batch), program(batch)), isa


@pytest.mark.parametrize(
    "bits", [pytest.param(2, marks=pytest.mark.slow), 4, pytest.param(16, marks=pytest.mark.slow)]
)
def test_any_number_of_bits(bits: int) -> None:
    model, batch = thin("e_spikeformer_5m")
    quantized = sd.quantize(model, batch, weight_bits={"*": bits}, power_of_two=bits == 4)
    check_same(quantized, sd.compile(quantized, batch), (batch,))


def test_compile_quantizes_on_the_way() -> None:
    model, batch = thin("sdt_2_256_cifar10dvs")
    quantized = sd.quantize(model, batch, weight_bits=5)
    assert torch.equal(
        sd.compile(model, batch, weight_bits=5)(batch), sd.compile(quantized, batch)(batch)
    )
    with pytest.raises(InputError, match="quantized already"):
        sd.compile(quantized, batch, weight_bits=5)


class Reals(nn.Module):
    """Layers on real values that reach below zero: padded, in a row, transposed; a batch norm
    that stays.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 6, 3, padding=2, bias=False), nn.Conv2d(6, 6, 1)
        self.norm, self.third = (
            nn.BatchNorm2d(6),
            nn.Conv2d(6, 4, 3, padding="same", groups=2, stride=1),
        )
        self.up = nn.ConvTranspose2d(4, 3, 2, stride=2, groups=1)
        self.head = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x))
        y = self.third(torch.relu(self.norm(x)) + x)
        return self.head(self.up(torch.relu(y)).amax((2, 3)))


def test_layers_on_real_values() -> None:
    torch.manual_seed(0)
    model, x = Reals().eval(), torch.randn(3, 2, 6, 6)
    sd.calibrate(model, x)
    quantized = sd.quantize(model, x)
    assert quantized.quantization.left == ()
    assert list(quantized.quantization.affines) == ["norm"]
    check_same(quantized, sd.compile(quantized, x), (x,))
    with torch.no_grad():
        off = (quantized(x) - model(x)).abs().max() / model(x).abs().max()
    assert off < 0.05
