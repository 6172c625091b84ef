"""The LIF and parametric LIF neurons against published vectors, and the operator against the
readable version.
"""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikedriven.errors import InputError
from spikedriven.neurons import (
    LIF,
    LIFOptions,
    ParametricLIF,
    decompositions,
    lif,
    lif_naive,
    neuron_factory,
)
from spikedriven.neurons.lif import lif_op

VECTORS = json.loads((Path(__file__).parents[1] / "golden" / "neuron_lif_unit.json").read_text())
DTYPES = {"float64": torch.float64, "float32": torch.float32}


def case_id(case):
    return "-".join([case["kind"], case["dtype"], *(f"{k}={v}" for k, v in case["args"].items())])


def unit_inputs(case):
    dtype = DTYPES[case["dtype"]]
    x = torch.tensor(VECTORS["x"], dtype=torch.float64).to(dtype).requires_grad_()
    upstream = torch.tensor(VECTORS["g"], dtype=torch.float64).to(dtype)
    return x, upstream


def unit_neuron(case):
    args = dict(case["args"])
    if case["kind"] == "LIF":
        return None, LIFOptions(**args)
    neuron = ParametricLIF(tau=args.pop("init_tau"), **args).to(DTYPES[case["dtype"]])
    assert neuron.w.item() == case["w_init"]
    return neuron.w, neuron.options


def expect(actual, expected):
    """To the last bit: JSON carries every digit of a double, and a float32 is exact in it."""
    assert torch.equal(actual.double(), torch.tensor(expected, dtype=torch.float64))


def expect_gradients(x, w, case):
    """Gradients pass through exp, which each processor rounds in its own way; the unit is eps, the
    gap above 1.

    An exp that is off by eps, and two roundings, put a sigmoid s off by at most s (2 - s) eps; its
    slope s (1 - s) then by |1 - 2 s| of that and three more roundings: 1.4 eps. That times
    alpha = 4, twice (the stored figure was computed too), and the largest upstream gradient, 2.32,
    make 26 eps per step. What flows to x from the
    steps behind has weights that add up to 1, or to tau = 2 where the input is not decayed; through
    the reset it enters once more.
    """
    eps = torch.finfo(x.dtype).eps
    options = LIFOptions(**{k: v for k, v in case["args"].items() if k != "init_tau"})
    bound = 26 * eps * (1 if options.decay_input else options.tau)
    bound *= 1 if options.detach_reset else 2
    expected = torch.tensor(case["grad_x"], dtype=torch.float64)
    torch.testing.assert_close(x.grad.double(), expected, rtol=0, atol=bound)
    # a sum of 144 such terms, whose errors have either sign: 12 times that of a usual one, 5 eps
    if w is not None:
        assert w.grad.item() == pytest.approx(case["grad_w"], rel=60 * eps)


@pytest.mark.parametrize("case", VECTORS["cases"], ids=case_id)
def test_naive_equals_published_vectors(case):
    x, upstream = unit_inputs(case)
    w, options = unit_neuron(case)
    spikes, membranes, _ = lif_naive(x, None, w, options)
    expect(spikes, case["spikes"])
    expect(membranes, case["v_after_reset"])
    (spikes * upstream).sum().backward()
    expect_gradients(x, w, case)


@pytest.mark.parametrize("case", VECTORS["cases"], ids=case_id)
def test_operator_equals_published_vectors(case):
    x, upstream = unit_inputs(case)
    w, options = unit_neuron(case)
    spikes, last = lif(x, None, w, options)
    expect(spikes, case["spikes"])
    expect(last, case["v_after_reset"][-1])
    (spikes * upstream).sum().backward()
    expect_gradients(x, w, case)


@pytest.mark.parametrize(
    "case", VECTORS["ties"], ids=lambda c: f"{c['tau']}-{c['v_threshold']}-{c['dtype']}"
)
def test_equality_fires(case):
    x = torch.tensor(VECTORS["tie_x"], dtype=DTYPES[case["dtype"]])
    options = LIFOptions(tau=case["tau"], v_threshold=case["v_threshold"])
    expect(lif(x, None, None, options)[0], case["spikes"])
    expect(lif_naive(x, None, None, options)[0], case["spikes"])


neurons = st.builds(
    LIFOptions,
    tau=st.sampled_from([1.0, 1.5, 2.0, 3.7]),
    v_threshold=st.sampled_from([0.5, 1.0]),
    v_reset=st.sampled_from([None, 0.0, -0.3, 0.2]),
    decay_input=st.booleans(),
    detach_reset=st.booleans(),
    surrogate=st.sampled_from(["sigmoid", "atan"]),
    alpha=st.sampled_from([None, 1.5]),
)


@settings(max_examples=80, deadline=None)
@given(
    options=neurons,
    steps=st.integers(1, 6),
    parametric=st.booleans(),
    carried=st.booleans(),
    seed=st.integers(0, 99),
)
def test_operator_equals_naive_in_values_and_gradients(options, steps, parametric, carried, seed):
    torch.manual_seed(seed)
    leaves = [torch.randn(steps, 2, 3, dtype=torch.float64) + 0.7]
    leaves.append(torch.randn(2, 3, dtype=torch.float64) if carried else None)
    leaves.append(torch.randn((), dtype=torch.float64) if parametric else None)
    upstream, upstream_v = (
        torch.randn(steps, 2, 3, dtype=torch.float64),
        torch.randn(2, 3, dtype=torch.float64),
    )

    def run(function):
        inputs = [None if leaf is None else leaf.clone().requires_grad_() for leaf in leaves]
        outputs = function(*inputs, options)
        spikes, last = outputs[0], outputs[-1]
        ((spikes * upstream).sum() + (last * upstream_v).sum()).backward()
        grads = [
            torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
            for leaf in inputs
            if leaf is not None
        ]
        return spikes, last, *grads

    for ours, truth in zip(run(lif), run(lif_naive), strict=True):
        torch.testing.assert_close(ours, truth, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_its_membrane_in_float32(dtype):
    x = (
        (torch.randn(5, 7, generator=torch.Generator().manual_seed(1)) + 0.7)
        .to(dtype)
        .requires_grad_()
    )
    spikes, last = lif(x)
    spikes.sum().backward()
    assert spikes.dtype == x.grad.dtype == dtype
    assert last.dtype == torch.float32
    exact = x.detach().float().requires_grad_()
    reference = lif(exact)[0]
    reference.sum().backward()
    assert torch.equal(reference.to(dtype), spikes)
    torch.testing.assert_close(x.grad, exact.grad.to(dtype))


# The checker itself reads .grad of inner tensors while it compares.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize("parametric", [False, True])
@pytest.mark.parametrize("v_reset", [0.0, None])
def test_opcheck(carried, parametric, v_reset):
    x = torch.randn(3, 2, 4, requires_grad=True)
    v = torch.randn(2, 4, requires_grad=True) if carried else None
    w = torch.zeros((), requires_grad=True) if parametric else None
    torch.library.opcheck(lif_op, (x, v, w, 2.0, 1.0, v_reset, True, True, "sigmoid", 4.0))
    torch.library.opcheck(lif_op, (x, v, w, 1.0, 1.0, v_reset, False, False, "atan", 2.0))


def test_export_keeps_each_neuron_as_one_node_with_its_module_path():
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 4), LIF(), torch.nn.Linear(4, 4), ParametricLIF()
    ).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (torch.randn(3, 2, 4),), dynamic_shapes=({1: batch},))
    nodes = [n for n in program.graph.nodes if n.target is torch.ops.spikedriven.lif.default]
    paths = [list(n.meta["nn_module_stack"].values())[-1][0] for n in nodes]
    assert paths == ["1", "3"]
    x = torch.randn(3, 5, 4)
    assert torch.equal(program.module()(x), model(x))


def test_decomposition_removes_the_operator_and_keeps_the_values():
    model = (
        torch.nn.Sequential(LIF(v_reset=None), torch.nn.Linear(4, 4), ParametricLIF())
        .double()
        .eval()
    )
    x = torch.randn(4, 2, 4, dtype=torch.float64) + 1
    program = torch.export.export(model, (x,)).run_decompositions(decompositions())
    assert not [n for n in program.graph.nodes if "spikedriven" in str(n.target)]
    assert torch.equal(program.module()(x), model(x))


def test_compile_takes_the_whole_graph():
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 4), LIF(), torch.nn.Linear(4, 4), ParametricLIF()
    ).double()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    x = torch.randn(3, 2, 4, dtype=torch.float64)
    compiled(x).sum().backward()
    ours = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    model(x).sum().backward()
    for a, b in zip(ours, model.parameters(), strict=True):
        torch.testing.assert_close(a, b.grad)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LIF(tau=0.5), "tau must be at least 1"),
        (lambda: LIF(surrogate="relu"), "surrogate 'relu' is not known"),
        (lambda: LIF(alpha=-1.0), "alpha must be positive"),
        (lambda: LIF(v_reset=1.0), "v_reset must lie below"),
        (lambda: ParametricLIF(tau=1.0), "initial tau above 1"),
        (lambda: neuron_factory("aliff"), "neuron 'aliff' is not known; did you mean alif"),
    ],
)
def test_wrong_options_are_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()


def test_the_default_compiler_takes_the_whole_graph(monkeypatch, tmp_path):
    # A cache of its own: PyTorch's holds code for the instruction set of whoever compiled first,
    # and takes it for all.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("CI", "1")  # there PyTorch refuses operators that decompositions know too
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), LIF()).double()
    x = torch.randn(3, 2, 4, dtype=torch.float64)
    compiled = torch.compile(model, fullgraph=True)
    loss, expected = compiled(x).sum(), model(x).sum()
    loss.backward()
    ours = model[0].weight.grad.clone()
    model.zero_grad()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(ours, model[0].weight.grad)
