"""The compiled engine against its readable twin: every map of every network, bit for bit."""

import dataclasses

import pytest
import torch
from torch import Tensor

import spikedriven as sd
from spikedriven.engine import Program
from spikedriven.engine.check import bytes_of
from spikedriven.engine.program import Plan, WeightLayer
from spikedriven.kernels.extension import available, instruction_sets
from tests.engine.nets import thin, thin_plan
from tests.networks import by_kind, live_model

pytestmark = pytest.mark.skipif(not available(), reason="installed without the compiled engine")

FAMILIES = [
    "sdt_2_256_cifar10dvs",
    "e_spikeformer_5m",
    "meta_spikeformer_15m",
    "spikingformer_8_384",
]


def assert_same_maps(expected: list, program: Program, x: Tensor) -> None:
    for index, ((m, twin), (_, native)) in enumerate(zip(expected, program.maps(x), strict=True)):
        assert torch.equal(twin, native), (
            f"map {index} ({m.kind}) of {m.name}: {int((twin != native).sum())} of {twin.numel()} "
            "values differ"
        )


def all_dense(plan: Plan) -> Plan:
    """The plan with its layers on spikes multiplying instead of adding rows."""

    def changed(operation: object) -> object:
        rows = isinstance(operation, WeightLayer) and operation.mode == "rows"
        return dataclasses.replace(operation, mode="dense") if rows else operation

    return dataclasses.replace(
        plan, operations=tuple(changed(operation) for operation in plan.operations)
    )


@pytest.mark.parametrize("name", by_kind(sd.list_models()))
def test_every_map_of_every_network(name: str) -> None:
    plan, x = thin_plan(name), thin(name)[1][:1]
    expected = Program(plan, native=False).maps(x)
    rates = [float((value > 0).float().mean()) for m, value in expected if m.kind == "spikes"]
    assert 0.02 < sum(rates) / len(rates) < 0.6, "these spikes prove little"
    for isa in instruction_sets():
        assert_same_maps(expected, Program(plan, True, isa), x)


@pytest.mark.parametrize("name", FAMILIES)
def test_multiplying_gives_what_adding_rows_gives(name: str) -> None:
    plan, x = thin_plan(name), thin(name)[1][:1]
    expected = Program(plan, native=False).maps(x)
    for isa in instruction_sets():
        assert_same_maps(expected, Program(all_dense(plan), True, isa), x)


@pytest.mark.parametrize(
    "name", ["sdt_2_256_cifar10dvs", "e_spikeformer_5m", "spikingformer_8_384"]
)
def test_threads_and_batch_change_nothing(name: str) -> None:
    plan, batch = thin_plan(name), thin(name)[1]
    program = Program(plan, native=True)
    outputs = []
    for threads in (1, 2, 3, 8):
        program.threads = threads
        outputs.append(program(batch))
        assert torch.equal(outputs[0], outputs[-1])
    singles = [program(x[None]) for x in batch]
    assert torch.equal(outputs[0], torch.cat(singles, dim=1 if "T" in plan.outputs[0].axes else 0))
    assert not torch.equal(singles[0], singles[1])
    expected = Program(plan, native=False).maps(batch[2:])
    program.threads = 3
    assert_same_maps(expected, program, batch[2:])


def test_memory_is_used_again_and_a_second_run_sees_nothing_of_the_first() -> None:
    plan, batch = thin_plan("e_spikeformer_5m"), thin("e_spikeformer_5m")[1]
    program = Program(plan, native=True)
    first = program(batch[:1])
    program(batch[1:2] * 5)
    assert torch.equal(program(batch[:1]), first)
    together = sum(map(bytes_of, plan.maps))
    assert program._native is not None and program._native.engine.memory < together / 2


@pytest.mark.parametrize("value", [0.0, 1e-30, 1e30])
def test_extreme_inputs(value: float) -> None:
    plan, batch = thin_plan("sdt_2_256_cifar10dvs"), thin("sdt_2_256_cifar10dvs")[1][:1]
    x = batch.sign() * value
    expected = Program(plan, native=False).maps(x)
    for isa in instruction_sets():
        assert_same_maps(expected, Program(plan, True, isa), x)


@pytest.mark.parametrize(("height", "width"), [(33, 47), (16, 16)])
def test_sizes_that_are_no_multiple_of_anything(height: int, width: int) -> None:
    from spikedriven.engine.lower import lower

    for name in ("sdt_2_256_cifar", "e_spikeformer_3m"):
        x = torch.randn(1, 3, height, width)
        plan = lower(thin(name)[0], (x,)).plan()
        assert_same_maps(Program(plan, native=False).maps(x), Program(plan, native=True), x)


@pytest.mark.slow
@pytest.mark.parametrize("name", sd.list_models())
def test_every_map_at_full_width(name: str) -> None:
    from spikedriven.engine.lower import lower
    from spikedriven.graph.calibrate import calibrate
    from spikedriven.runs.target import random_batch

    small = {"img_size": 64} if name.startswith("spike_mae") else {}
    model = live_model(name, **small).float()
    x = random_batch(model, 2)[..., :64, :64]
    calibrate(model.eval(), x)
    plan = lower(model, (x,)).plan()
    expected = Program(plan, native=False).maps(x[:1])
    for isa in instruction_sets():
        assert_same_maps(expected, Program(plan, True, isa), x[:1])
