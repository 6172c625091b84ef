"""What Triton's compiler makes of the kernels, for GPUs that need not be there: one pass, no
roundings of its own.
"""

import re
import subprocess
from collections import Counter
from importlib.util import find_spec

import pytest

from spikedriven.neurons.cuda import BACKWARD_BLOCK, COMPILER, FORWARD_BLOCK, MAX_STEPS

pytestmark = pytest.mark.skipif(
    find_spec("triton") is None, reason="Triton is missing: pip install 'spikedriven[triton]'"
)
DYNAMICS = {
    "STILL": False,
    "TAU": 1.5,
    "V_THRESHOLD": 1.0,
    "V_RESET": 0.0,
    "REST": 0.0,
    "DECAY_INPUT": True,
}
LEARNING = {"DETACH_RESET": False, "SURROGATE": "sigmoid", "ALPHA": 4.0}
TARGETS = {"sm_80": ("cuda", 80, 32), "sm_90": ("cuda", 90, 32), "gfx942": ("hip", "gfx942", 64)}


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def compiled(
    name: str, target: str, pointers: dict[str, str | None], constants: dict
) -> dict[str, str]:
    """The stages of one kernel's code, with the arguments that the launcher gives it."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from spikedriven.kernels import triton_neurons

    kernel = getattr(triton_neurons, name)
    types = {key: f"*{kind}" for key, kind in pointers.items() if kind} | {"size": "i32"}
    aligned = {(kernel.arg_names.index(key),): [["tt.divisibility", 16]] for key in types}
    signature = {key: types.get(key, "constexpr") for key in kernel.arg_names}
    values = {key: constants.get(key) for key, kind in signature.items() if kind == "constexpr"}
    source = ASTSource(kernel, signature=signature, constexprs=values, attrs=aligned)
    return triton.compile(source, target=GPUTarget(*TARGETS[target]), options=COMPILER).asm


def forward(
    dtype: str, k: str | None, target: str = "sm_80", steps: int = 4, **constants
) -> dict[str, str]:
    membrane = "fp64" if dtype == "fp64" else "fp32"
    pointers = {"x": dtype, "v": membrane, "k": k, "spikes": dtype, "last": membrane}
    return compiled(
        "lif_forward",
        target,
        pointers,
        DYNAMICS | {"STEPS": steps, "BLOCK": FORWARD_BLOCK} | constants,
    )


def backward(
    dtype: str, k: str | None, target: str = "sm_80", steps: int = 4, **constants
) -> dict[str, str]:
    membrane = "fp64" if dtype == "fp64" else "fp32"
    pointers = {
        "x": dtype,
        "v": membrane,
        "k": k,
        "grad_spikes": dtype,
        "grad_v": membrane,
        "grad_x": dtype,
        "grad_v0": membrane,
        "grad_k": k,
    }
    fixed = DYNAMICS | LEARNING | {"STEPS": steps, "BLOCK": BACKWARD_BLOCK}
    return compiled("lif_backward", target, pointers, fixed | constants)


def integer(dtype: str, target: str = "sm_80", rounding: str = "half_even") -> dict[str, str]:
    constants = {"LEVELS": 4, "NORM": 3.0, "ROUNDING": rounding, "BLOCK": FORWARD_BLOCK}
    return compiled("integer_forward", target, {"x": dtype, "out": dtype}, constants)


def integer_backward(dtype: str, target: str = "sm_80") -> dict[str, str]:
    constants = {"LEVELS": 4, "NORM": 3.0, "GRADIENT": "strict", "BLOCK": FORWARD_BLOCK}
    return compiled(
        "integer_backward", target, {"upstream": dtype, "x": dtype, "out": dtype}, constants
    )


#: Rounded to nearest. Triton 3.5, of PyTorch 2.9, flushes subnormal quotients to zero:
#: 1e38 below any threshold.
DIVISIONS = ("div.rn.f32", "div.rn.ftz.f32")


def instructions(ptx: str) -> Counter:
    return Counter(re.findall(r"^\s+(?:@\S+\s+)?([a-z]\S*)\s", ptx, re.M))


@pytest.mark.parametrize("k", [None, "fp32"])
def test_no_rounding_of_its_own_in_float32(k):
    found = instructions(forward("fp32", k)["ptx"])
    floating = {name for name in found if name.endswith(".f32")}
    allowed = {
        "add.rn.f32",
        "sub.rn.f32",
        "mul.rn.f32",
        "setp.ge.f32",
        "selp.f32",
        *([] if k else DIVISIONS),
    }
    assert (
        {"add.rn.f32", "mul.rn.f32"} <= floating <= allowed
    )  # no fused multiply-add, no approximate division, no .ftz but that of DIVISIONS
    again = {name for name in instructions(backward("fp32", k)["ptx"]) if name.endswith(".f32")}
    assert not {name for name in again if name.startswith(("fma", "mad"))}


@pytest.mark.parametrize("build", [integer, integer_backward])
def test_integer_neuron_divides_with_one_rounding(build):
    found = instructions(build("fp32")["ptx"])
    assert sum(found[name] for name in DIVISIONS) == FORWARD_BLOCK // 128
    assert not {name for name in found if name.startswith(("fma", "mad.rn", "div.full", "rcp"))}


def test_bfloat16_is_rounded_to_nearest():
    assert any(
        name.startswith("cvt.rn.bf16") for name in instructions(backward("bf16", None)["ptx"])
    )


def test_memory_is_passed_over_once():
    """In float32 a thread moves 16 bytes at a time: its part of a block, for each step, and
    each membrane.
    """
    found = instructions(forward("fp32", None)["ptx"])
    each = FORWARD_BLOCK // 128 // 4
    assert found["ld.global.v4.b32"] == (4 + 1) * each  # x, v
    assert found["st.global.v4.b32"] == (4 + 1) * each  # spikes, last
    found = instructions(backward("fp32", None)["ptx"])
    each = BACKWARD_BLOCK // 128 // 4
    assert found["ld.global.v4.b32"] == (2 * 4 + 2) * each  # x, grad_spikes, v, grad_v
    assert found["st.global.v4.b32"] == (4 + 1) * each  # grad_x, grad_v0
    assert not {name for name in found if name.startswith(("ld.local", "st.local"))}


@pytest.mark.parametrize("build", [forward, backward])
def test_offsets_have_64_bits(build):
    """All steps of a large batch may have more than 2^31 elements."""
    into_blocks = re.findall(r"tt\.addptr .*tensor<\d+x(i\d+)>", build("fp32", None)["ttir"])
    assert set(into_blocks) == {"i64"}


@pytest.mark.parametrize("k", [None, "fp32"])
def test_the_longest_chunk_fits_into_registers(k, tmp_path):
    import triton

    file = tmp_path / "kernel.ptx"
    file.write_text(backward("fp32", k, steps=MAX_STEPS)["ptx"])
    assembler = [
        triton.knobs.nvidia.ptxas.path,
        "-v",
        "-arch=sm_80",
        "--fmad=false",
        str(file),
        "-o",
        str(tmp_path / "k"),
    ]
    log = subprocess.run(assembler, capture_output=True, text=True, check=True).stderr
    assert "0 bytes spill stores, 0 bytes spill loads" in log


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["fp64", "fp32", "fp16", "bf16"])
def test_every_kernel_compiles(dtype, target):
    binary = "hsaco" if target.startswith("gfx") else "cubin"
    for k in (None, "fp64" if dtype == "fp64" else "fp32"):
        for options in (
            {},
            {"V_RESET": None, "DECAY_INPUT": False},
            {"V_RESET": -0.3, "REST": -0.3},
        ):
            assert forward(dtype, k, target, **options)[binary]
            for more in ({"DETACH_RESET": True}, {"SURROGATE": "atan"}):
                assert backward(dtype, k, target, **options, **more)[binary]
    for rounding in ("half_even", "half_up"):
        assert integer(dtype, target, rounding)[binary]
    assert integer_backward(dtype, target)[binary]
