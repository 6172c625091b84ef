"""The Triton kernels against the readable neurons, values and gradients, in Triton's interpreter,
which needs no GPU.

Triton decides at its import whether to interpret: kernels run in one child process that does,
behind the operators' CPU key. Where there is a GPU, the same comparisons run there too, compiled.
"""

import dataclasses
import itertools
import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikedriven.neurons import LIFOptions, lif, lif_naive
from spikedriven.neurons.cuda import BACKWARD_BLOCK, FORWARD_BLOCK, MAX_STEPS
from spikedriven.neurons.integer import integer_spike, integer_spike_backward, integer_spike_naive
from spikedriven.neurons.lif import lif_backward_op, lif_op
from spikedriven.neurons.surrogate import SURROGATES

pytestmark = pytest.mark.skipif(
    find_spec("triton") is None, reason="Triton is missing: pip install 'spikedriven[triton]'"
)
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
#: Gradients are computed in another order than autograd's; in half precision they may then round to
#: the neighbour.
TOLERANCE = {
    torch.float64: {"rtol": 1e-12, "atol": 1e-13},
    torch.float32: {"rtol": 1e-5, "atol": 1e-6},
    torch.float16: {"rtol": 2**-10, "atol": 1e-6},
    torch.bfloat16: {"rtol": 2**-7, "atol": 1e-6},
}


def interpret_kernels() -> None:
    """In the child: the kernels, interpreted, behind the operators on the CPU."""
    from triton.runtime import interpreter

    from spikedriven.kernels import triton_neurons
    from spikedriven.neurons import cuda

    assert isinstance(triton_neurons.lif_forward, interpreter.InterpretedFunction)
    cuda.register("cpu")
    torch.set_num_threads(1)
    original = interpreter._convert_float

    def convert(data, source, target, mode):
        """As GPUs do, and Triton documents: its interpreter (3.8) cuts bits off instead of rounding
        to the nearest bfloat16, and takes bfloat16's subnormal numbers for zeros.
        """
        values = torch.from_numpy(data.copy())
        if str(target) == "bf16":
            return values.to(torch.bfloat16).view(torch.uint16).numpy()
        if str(source) == "bf16":
            return values.view(torch.bfloat16).float().numpy()
        return original(data, source, target, mode)

    interpreter._convert_float = convert


DEVICES = ["interpreter", "cuda"] if torch.cuda.is_available() else ["interpreter"]


@pytest.fixture(scope="module", params=DEVICES)
def on_kernels(request):
    """``on_kernels(function, ...)`` is ``function(..., device)`` where the kernels stand behind
    that device.
    """
    if request.param == "cuda":
        yield lambda function, *args: function(*args, "cuda")
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), interpret_kernels)
        with pool:
            yield lambda function, *args: pool.submit(function, *args, "cpu").result()


@dataclass(frozen=True)
class Case:
    options: LIFOptions = field(default_factory=LIFOptions)
    dtype: torch.dtype = torch.float64
    shape: tuple[int, ...] = (4, 2, 9)
    parametric: bool = False
    carried: bool = False
    seed: int = 0

    def leaves(self) -> list[torch.Tensor | None]:
        """Input, membrane, w. Half of the inputs are multiples of 1/4, which reach the
        threshold exactly.
        """
        random = torch.Generator().manual_seed(self.seed)
        x = torch.randn(self.shape, generator=random, dtype=torch.float64) + 0.7
        x = torch.where(torch.rand(self.shape, generator=random) < 0.5, x, (x * 4).round() / 4).to(
            self.dtype
        )
        wide = torch.float64 if self.dtype == torch.float64 else torch.float32
        v = torch.randn(self.shape[1:], generator=random, dtype=torch.float64).to(wide)
        w = torch.randn((), generator=random, dtype=torch.float64).to(wide)
        return [x, v if self.carried else None, w if self.parametric else None]


def values_and_gradients(function, leaves, options, device="cpu"):
    """Spikes, last membrane, gradients of the leaves that there are."""
    inputs = [
        None if leaf is None else leaf.detach().to(device).requires_grad_() for leaf in leaves
    ]
    spikes, *_, last = function(*inputs, options)
    random = torch.Generator().manual_seed(1)
    upstream = [torch.randn(out.shape, generator=random).to(out) for out in (spikes, last)]
    torch.autograd.backward([spikes, last], upstream)
    grads = [
        torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        for leaf in inputs
        if leaf is not None
    ]
    return [tensor.detach().cpu() for tensor in (spikes, last, *grads)]


def compare(case: Case, device: str) -> None:
    """Spikes to the last bit, membranes too; gradients up to their rounding."""
    ours = values_and_gradients(lif, case.leaves(), case.options, device)
    truth = values_and_gradients(lif_naive, case.leaves(), case.options)
    assert torch.equal(ours[0], truth[0]), f"spikes: {case}"
    if device == "cuda" and case.parametric:  # sigmoid(w) may differ in its last bit
        torch.testing.assert_close(ours[1], truth[1])
    else:
        assert torch.equal(ours[1], truth[1]), f"membranes: {case}"
    for mine, grad in zip(ours[2:], truth[2:], strict=True):
        assert mine.dtype == grad.dtype
        torch.testing.assert_close(
            mine, grad, **TOLERANCE[grad.dtype], msg=lambda text: f"{text}\n{case}"
        )


def compare_all(cases: list[Case], device: str) -> None:
    for case in cases:
        compare(case, device)


neurons = st.builds(
    LIFOptions,
    tau=st.sampled_from([1.0, 1.5, 2.0, 3.7]),
    v_threshold=st.sampled_from([0.5, 1.0]),
    v_reset=st.sampled_from([None, 0.0, -0.3, 0.2]),
    decay_input=st.booleans(),
    detach_reset=st.booleans(),
    surrogate=st.sampled_from(sorted(SURROGATES)),
    alpha=st.sampled_from([None, 1.5]),
)
cases = st.builds(
    Case,
    options=neurons,
    dtype=st.sampled_from(DTYPES),
    shape=st.sampled_from([(1, 5), (3, 2, 9), (6, 4)]),
    parametric=st.booleans(),
    carried=st.booleans(),
    seed=st.integers(0, 99),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(case=cases)
def test_values_and_gradients(on_kernels, case):
    on_kernels(compare, case)


OPTIONS = [
    LIFOptions(1.5, 1.0, v_reset, decay_input, detach_reset, surrogate)
    for v_reset, decay_input, detach_reset, surrogate in itertools.product(
        (None, 0.0, -0.3), (True, False), (True, False), sorted(SURROGATES)
    )
]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_combination_of_options(on_kernels, dtype):
    combinations = itertools.product(
        OPTIONS, (1.0, 2.0, 3.7), (None, 1.5), (True, False), (True, False)
    )
    on_kernels(
        compare_all,
        [
            Case(
                dataclasses.replace(options, tau=tau, alpha=alpha),
                dtype,
                (3, 2, 9),
                parametric,
                carried,
                seed,
            )
            for seed, (options, tau, alpha, parametric, carried) in enumerate(combinations)
        ],
    )


@pytest.mark.parametrize("steps", [MAX_STEPS, MAX_STEPS + 1, 2 * MAX_STEPS + 3])
@pytest.mark.parametrize("parametric", [False, True])
def test_more_steps_than_fit_into_registers(on_kernels, steps, parametric):
    options = LIFOptions(v_reset=None, detach_reset=False)
    for carried in (False, True):
        on_kernels(compare, Case(options, torch.float64, (steps, 7), parametric, carried))


@pytest.mark.parametrize("size", [1, BACKWARD_BLOCK, FORWARD_BLOCK + BACKWARD_BLOCK + 3])
def test_several_programs(on_kernels, size):
    on_kernels(compare, Case(LIFOptions(), torch.float64, (2, size), parametric=True, carried=True))


def compare_layouts(device: str) -> None:
    """Memory in another order, with gaps, or shared: same values, and the strides that the
    fakes promise.
    """
    x = torch.randn(3, 4, 6, 5, 2, dtype=torch.float64) + 0.7
    layouts = {
        "channels last": x.movedim(2, -1).contiguous().movedim(-1, 2),
        "batch first": x.transpose(0, 1).contiguous().transpose(0, 1),
        "every other": x.repeat_interleave(2, -1)[..., ::2],
        "one image for all steps": x[:1].expand_as(x),
        "one image, channels last": x[:1].movedim(2, -1).contiguous().movedim(-1, 2).expand_as(x),
        "one step": x[:1],
        "empty": x[:, :0],
    }
    for name, laid in layouts.items():
        for function, twin in ((lif, lif_naive), (count, count_naive)):
            leaves = [laid.to(device), None, None]
            out = function(*leaves, LIFOptions())
            assert [o.stride() for o in out] == [
                torch.empty_like(g).stride() for g in (laid, laid[0])
            ], name
            ours = values_and_gradients(function, leaves, LIFOptions(), device)
            truth = values_and_gradients(twin, [laid.contiguous(), None, None], LIFOptions())
            for mine, theirs in zip(ours, truth, strict=True):
                torch.testing.assert_close(
                    mine, theirs, **TOLERANCE[torch.float64], msg=lambda t, n=name: f"{n}: {t}"
                )


def count(x, v, w, options):
    return integer_spike(x, 4, 4.0, "half_even", "strict"), x[0].clone()


def count_naive(x, v, w, options):
    return integer_spike_naive(x, 4, 4.0, "half_even", "strict"), x[0].clone()


def test_memory_layouts(on_kernels):
    on_kernels(compare_layouts)


def compare_absent_gradients(device: str) -> None:
    """Only the membrane, or only the spikes, are used; an upstream gradient may be an expanded
    scalar.
    """
    for used in (0, -1):
        grads = []
        for function, where in ((lif, device), (lif_naive, "cpu")):
            x = (
                torch.randn(4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
                + 0.7
            ).to(where)
            x.requires_grad_()
            function(x)[used].sum().backward()
            grads.append(x.grad.cpu())
        torch.testing.assert_close(*grads, **TOLERANCE[torch.float64])


def test_absent_gradients(on_kernels):
    on_kernels(compare_absent_gradients)


def compare_overflow(device: str) -> None:
    """Infinities and not-a-numbers go through as in the readable neurons."""
    wild = torch.tensor(
        [float("inf"), -float("inf"), float("nan"), 0.0, 1e300], dtype=torch.float64
    )
    x = torch.stack([wild, wild.roll(1), wild.roll(2)])
    for options in (
        LIFOptions(),
        LIFOptions(v_reset=None),
        LIFOptions(v_reset=-0.5, decay_input=False),
    ):
        for mine, theirs in zip(
            lif(x.to(device), None, None, options),
            lif_naive(x, None, None, options)[::2],
            strict=True,
        ):
            torch.testing.assert_close(mine.cpu(), theirs, rtol=0, atol=0, equal_nan=True)
    for rounding in ("half_even", "half_up"):
        mine = integer_spike(x.to(device), 4, 4.0, rounding, "strict").cpu()
        torch.testing.assert_close(
            mine, integer_spike_naive(x, 4, 4.0, rounding, "strict"), rtol=0, atol=0, equal_nan=True
        )


def test_overflow(on_kernels):
    on_kernels(compare_overflow)


def compare_integer(levels, norm, rounding, gradient, dtype, device: str) -> None:
    """To the last bit, gradients too. Quarters, and the neighbours of every half."""
    halves = (torch.arange(-4, 2 * levels + 4) / 2).to(dtype)
    far = torch.tensor(1e3, dtype=dtype)
    values = torch.cat(
        [halves + 0.25, halves, torch.nextafter(halves, far), torch.nextafter(halves, -far)]
    )
    results = []
    for function, where in ((integer_spike, device), (integer_spike_naive, "cpu")):
        x = values.detach().clone().to(where).requires_grad_()
        out = function(x, levels, norm, rounding, gradient)
        out.backward(torch.linspace(-2, 3, len(values)).to(out))
        results.append((out.detach().cpu(), x.grad.cpu()))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("gradient", ["inclusive", "strict"])
@pytest.mark.parametrize("rounding", ["half_even", "half_up"])
@pytest.mark.parametrize(("levels", "norm"), [(4, 4.0), (1, 1.0), (8, 3.0)])
def test_integer_neuron(on_kernels, levels, norm, rounding, gradient, dtype):
    on_kernels(compare_integer, levels, norm, rounding, gradient, dtype)


def check_operators(device: str) -> None:
    """Fake implementations and autograd, as torch tests them, with the kernels behind the
    operators.
    """
    x = torch.randn(3, 2, 4, device=device, requires_grad=True)
    v, w = (
        torch.randn(2, 4, device=device, requires_grad=True),
        torch.zeros((), device=device, requires_grad=True),
    )
    torch.library.opcheck(lif_op, (x, v, w, 2.0, 1.0, 0.0, True, False, "sigmoid", 4.0))
    torch.library.opcheck(lif_op, (x, None, None, 2.0, 1.0, None, True, True, "atan", 2.0))
    torch.library.opcheck(integer_spike, (x, 4, 4.0, "half_even", "strict"))


def test_opcheck(on_kernels):
    on_kernels(check_operators)


def test_stand_behind_the_operators_on_gpus():
    for op in (lif_op, lif_backward_op, integer_spike, integer_spike_backward):
        assert torch._C._dispatch_has_kernel_for_dispatch_key(op._qualname, "CUDA")


def test_without_triton_gpus_run_the_plain_implementation():
    code = """if True:
        import sys
        sys.modules["triton"] = None  # as if it were not installed
        import torch, spikedriven.neurons
        assert not torch._C._dispatch_has_kernel_for_dispatch_key("spikedriven::lif", "CUDA")
        has = torch._C._dispatch_has_kernel_for_dispatch_key
        assert has("spikedriven::lif", "CompositeExplicitAutograd")
    """
    subprocess.run([sys.executable, "-c", code], check=True)
