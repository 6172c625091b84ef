"""Program files: the same bits back, and a clear error for every other file."""

import dataclasses
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

import spikedriven as sd
from spikedriven.engine import Program, file
from spikedriven.engine.check import check_plan
from spikedriven.engine.native import available
from spikedriven.engine.program import (
    Fire,
    Head,
    Image,
    IntegerSpec,
    LIFSpec,
    LinearAttention,
    MaskedAttention,
    Plan,
    Pool,
    WeightLayer,
)
from spikedriven.errors import CheckpointError, InputError
from tests.engine.nets import thin, thin_plan

# between them: every operation, both neurons
NAMES = [
    "sdt_2_256_cifar10dvs",
    "e_spikeformer_5m",
    "spikingformer_2_256_dvs",
    "meta_spikeformer_15m",
]


@pytest.fixture
def plan() -> Plan:
    return thin_plan("sdt_2_256_cifar10dvs")


def refused(path: Path, why: str) -> None:
    with pytest.raises(CheckpointError, match=why) as error:
        file.load(path)
    assert str(path) in str(error.value)


# Round trip -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_program_is_the_saved_one(name: str, tmp_path: Path) -> None:
    plan, path = thin_plan(name), tmp_path / "a.sdp"
    Program(plan, native=False).save(path)
    back = file.load(path)
    for field in ("time_steps", "input_frames", "maps", "output", "output_form"):
        assert getattr(back, field) == getattr(plan, field)
    assert len(back.operations) == len(plan.operations)
    for mine, yours in zip(back.operations, plan.operations, strict=True):
        assert type(mine) is type(yours)
        for field in dataclasses.fields(mine):
            a, b = getattr(mine, field.name), getattr(yours, field.name)
            assert type(a) is type(b)
            assert (
                a.dtype == b.dtype and np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b
            )
    batch = thin(name)[1][:1]
    assert torch.equal(
        sd.load_program(path, native=False)(batch), Program(plan, native=False)(batch)
    )


def test_the_same_plan_gives_the_same_bytes_and_an_old_file_is_replaced(
    plan: Plan, tmp_path: Path
) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    second.write_bytes(b"what was there")
    file.save(plan, first)
    file.save(file.load(first), second)
    assert first.read_bytes() == second.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_an_interrupted_write_leaves_the_old_file(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"what was there")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckpointError, match="No space left") as error:
        file.save(plan, path)
    assert str(path) in str(error.value)
    assert path.read_bytes() == b"what was there" and len(list(tmp_path.iterdir())) == 1


def test_load_program_takes_what_is_there(plan: Plan, tmp_path: Path) -> None:
    file.save(plan, tmp_path / "a")
    assert sd.load_program(tmp_path / "a").is_native == available()
    assert not sd.load_program(str(tmp_path / "a"), native=False).is_native


# Damage -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = tmp_path_factory.mktemp("damage") / "a.sdp"
    file.save(thin_plan("spikingformer_2_256_dvs"), path)
    return path, path.read_bytes()


def test_no_such_file_a_folder_and_other_files(tmp_path: Path) -> None:
    refused(tmp_path / "missing", "cannot be read")
    refused(tmp_path, "cannot be read")
    for content in (b"", b"hello", b"\x08" + bytes(7) + b"not json", bytes(1000)):
        (tmp_path / "x").write_bytes(content)
        refused(tmp_path / "x", "no program file")
    safetensors.numpy.save_file(
        {"weight": np.zeros(3, dtype=np.float32)}, tmp_path / "x", {"format": "pt"}
    )
    refused(tmp_path / "x", "no program file")


def test_every_flipped_byte_is_found(written: tuple[Path, bytes], tmp_path: Path) -> None:
    data, rng, path = written[1], random.Random(0), tmp_path / "x"
    header = 8 + int.from_bytes(data[:8], "little")
    places = [*range(8), *rng.sample(range(8, header), 150), *range(header - 6, header)]
    places += rng.sample(range(header, len(data)), 140)
    for place in places:
        flipped = bytearray(data)
        flipped[place] ^= rng.choice([1, 2, 4, 8, 16, 32, 64, 128, 255, 0x29])
        path.write_bytes(flipped)
        refused(path, "damaged|reads 'spikedriven program'")


def test_padding_of_the_header_that_is_no_space(
    written: tuple[Path, bytes], tmp_path: Path
) -> None:
    data = bytearray(written[1])
    end = 8 + int.from_bytes(data[:8], "little")
    padding = len(data[:end]) - len(data[:end].rstrip(b" "))
    data[:8] = int.to_bytes(end - 8 + 8 - padding, 8, "little")
    data[end - padding : end] = b"\n" + b" " * 7
    (tmp_path / "x").write_bytes(data)
    refused(tmp_path / "x", "not as it was written")


def test_every_truncation_is_found(written: tuple[Path, bytes], tmp_path: Path) -> None:
    data, rng, path = written[1], random.Random(1), tmp_path / "x"
    for length in [*range(0, 20), *(rng.randrange(len(data)) for _ in range(80)), len(data) - 1]:
        path.write_bytes(data[:length])
        refused(path, "no program file, or a damaged one")
    path.write_bytes(data + b"\0")
    refused(path, "no program file, or a damaged one")


# Files that are whole, but ask for what cannot be ------------------------------------------------------------------

Edit = Callable[[dict, dict], None]


def crafted(plan: Plan, path: Path, edit: Edit, **top: object) -> None:
    """A file with correct sums whose description or arrays were edited."""
    described, arrays = file._described(plan)
    described = json.loads(json.dumps(described))
    edit(described, arrays)
    content = {"format": file.FORMAT, "version": file.VERSION, "plan": described} | top
    content.setdefault("sha256", file._sums(described, arrays))
    path.write_bytes(safetensors.numpy.save(arrays, {file.KEY: file._text(content)}))


def layer_of(described: dict) -> dict:
    return next(
        o for o in described["operations"] if o["operation"] == "WeightLayer" and o["neuron"]
    )


def of_map(**values: object) -> Edit:
    return lambda described, _: described["maps"][2].update(values)


def of_layer(**values: object) -> Edit:
    return lambda described, _: layer_of(described).update(values)


def of_neuron(**values: object) -> Edit:
    return lambda described, _: layer_of(described)["neuron"].update(values)


def of_top(**values: object) -> Edit:
    return lambda described, _: described.update(values)


def of_array(name: str, change: Callable[[np.ndarray], np.ndarray], operation: int = 1) -> Edit:
    def edit(described: dict, arrays: dict) -> None:
        arrays[f"{operation}.{name}"] = np.ascontiguousarray(change(arrays[f"{operation}.{name}"]))

    return edit


def without(name: str) -> Edit:
    return lambda described, _: layer_of(described).pop(name)


def with_first(array: np.ndarray, value: float) -> np.ndarray:
    array = array.copy()
    array.flat[0] = value
    return array


CRAFTED: dict[str, tuple[Edit, str]] = {
    "a field too many": (of_layer(extra=1), "operation 1: missing or unknown fields of WeightLayer: extra"),
    "a field too few": (without("pad"), "unknown fields of WeightLayer: pad"),
    "a map's field too many": (of_map(extra=1), "map 2: missing or unknown fields of Map: extra"),
    "a neuron's field too many": (of_neuron(extra=1), "unknown fields of LIFSpec: extra"),
    "unknown operation": (of_layer(operation="Shell"), "unknown operation 'Shell'"),
    "operation without a name": (without("operation"), "unknown operation None"),
    "operation that is a number": (lambda d, _: d["operations"].append(3), "unknown operation None"),
    "unknown neuron": (of_neuron(kind="izhikevich"), "unknown neuron 'izhikevich'"),
    "neuron that is a list": (of_layer(neuron=[1]), "unknown neuron None"),
    "maps that are no list": (of_top(maps={}), "maps must be a list"),
    "no operations": (of_top(operations=[]), "arrays that no operation has"),
    "bool for int": (of_layer(step=True), "step has the wrong type"),
    "float for int": (of_map(height=4.0), "height has the wrong type"),
    "int for bool": (of_neuron(hard_reset=1), "hard_reset has the wrong type"),
    "text for float": (of_neuron(leak="2"), "leak has the wrong type"),
    "NaN": (of_neuron(threshold=float("nan")), "threshold has the wrong type"),
    "infinity": (of_neuron(rest=float("inf")), "rest has the wrong type"),
    "too large for float32": (of_neuron(rest=1e39), "rest has the wrong type"),
    "too large for int32": (of_layer(pad=2**31), "pad has the wrong type"),
    "name that is no text": (of_map(name=7), "name has the wrong type"),
    "NaN in scale": (of_array("scale", lambda a: with_first(a, np.nan)), "scale has the wrong type or value"),
    "infinity in bias": (of_array("bias", lambda a: with_first(a, np.inf)), "bias has the wrong type or value"),
    "double scale": (of_array("scale", lambda a: a.astype(np.float64)), "scale has the wrong type"),
    "weights of 8 bits": (of_array("weight", lambda a: a.astype(np.int8)), "weight has the wrong type"),
    "weights of more than 23 bits": (
        of_array("weight", lambda a: with_first(a.astype(np.int32), 2**24), operation=2),
        "a weight of 16777216, more than 4194239",
    ),
    "integer weights on the image": (of_array("weight", lambda a: a.astype(np.int16)), "'float' with weights int16"),
    "fewer scales": (of_array("scale", lambda a: a[1:]), "scale .* must be"),
    "flat weights": (of_array("weight", lambda a: a.reshape(-1)), "its weight is"),
    "more inputs than channels": (of_array("weight", lambda a: a.repeat(2, axis=1)), "but its input has"),
    "no outputs": (of_array("weight", lambda a: a[:0]), "its weight is"),
    "an array too many": (lambda d, a: a.update(secret=np.zeros(2)), "arrays that no operation has: secret"),
    "an array too few": (lambda d, a: a.pop("1.bias"), "the array '1.bias' is missing"),
    "mode": (of_layer(mode="magic"), "mode must be one of"),
    "levels 0": (of_layer(levels=0), "levels must lie in 1..255"),
    "levels 256": (of_layer(levels=256), "levels must lie in 1..255"),
    "step 0": (of_layer(step=0), "out of range"),
    "negative padding": (of_layer(pad=-1), "out of range"),
    "huge padding": (of_layer(pad=10**6), "out of range"),
    "reads a map that is not there": (of_layer(source=999), "names map 999"),
    "reads a negative map": (of_layer(source=-1), "names map -1"),
    "reads a later map": (of_layer(source=9), "reads map 9 before it is written"),
    "writes a map twice": (lambda d, _: d["operations"].append(d["operations"][0]), "writes map 0 a second time"),
    "spikes without a neuron": (of_layer(neuron=None), "spikes and neuron belong together"),
    "output of no map": (of_top(output=10**6), "the output is map 1000000"),
    "output of a negative map": (of_top(output=-1), "the output is map -1"),
    "output of spikes": (of_top(output=1), "the output must be real"),
    "output form": (of_top(output_form="matrix"), "output_form must be one of"),
    "no time": (of_top(time_steps=0), "time_steps must lie in"),
    "much time": (of_top(time_steps=10**6), "time_steps must lie in"),
    "absurd height": (of_map(height=10**9), "sizes must lie in"),
    "absurd area": (of_map(height=2**15, width=2**15), "values, more than"),
    "no channels": (of_map(channels=0), "sizes must lie in"),
    "kind": (of_map(kind="unreal"), "its kind must be one of"),
    "steps": (of_map(steps=3), "has 3 steps"),
    "other shape": (of_map(width=5), "expected"),
    "infinite leak": (of_neuron(leak=0.0), "the leak of a neuron is positive"),
    "the input's time axis": (of_top(input_frames=False), "map 0 is the image, with 1 steps"),
}  # fmt: skip


@pytest.mark.parametrize("what", CRAFTED)
def test_crafted_files_are_refused(what: str, plan: Plan, tmp_path: Path) -> None:
    edit, why = CRAFTED[what]
    crafted(plan, tmp_path / "x", edit)
    refused(tmp_path / "x", why)


def test_the_uncrafted_file_is_fine(plan: Plan, tmp_path: Path) -> None:
    crafted(plan, tmp_path / "x", lambda described, arrays: None)
    assert len(file.load(tmp_path / "x").operations) == len(plan.operations)


@pytest.mark.parametrize(
    ("top", "why"),
    [
        ({"version": 2}, "version 2, but this spikedriven reads 'spikedriven program' version 1"),
        ({"version": True}, "version True"),
        ({"format": "other"}, "found 'other'"),
        ({"sha256": {}}, "missing or too many"),
        ({"sha256": 5}, "missing or too many"),
        ({"more": 5}, "not as it was written"),
    ],
)  # fmt: skip
def test_crafted_top(top: dict, why: str, plan: Plan, tmp_path: Path) -> None:
    crafted(plan, tmp_path / "x", lambda described, arrays: None, **top)
    refused(tmp_path / "x", why)


def test_a_description_that_nests_too_deep(tmp_path: Path) -> None:
    for text in ("[" * 100000, '{"format":' * 50000, "1" * 10000, "null", '"text"'):
        (tmp_path / "x").write_bytes(safetensors.numpy.save({"a": np.zeros(1)}, {file.KEY: text}))
        refused(tmp_path / "x", "no program file")


# The check of plans, by operation ----------------------------------------------------------------------------------


def edited(name: str, kind: type, where: int = 0, **values: object) -> Plan:
    """A plan with one operation of a kind changed."""
    plan = thin_plan(name)
    index = [i for i, operation in enumerate(plan.operations) if isinstance(operation, kind)][where]
    operations = list(plan.operations)
    operations[index] = dataclasses.replace(operations[index], **values)
    return dataclasses.replace(plan, operations=tuple(operations))


LIF_OTHER = LIFSpec(2.0, 1.0, 0.0, True, True, False, kind="integer")


@pytest.mark.parametrize(
    ("name", "kind", "values", "why"),
    [
        ("sdt_2_256_cifar10dvs", MaskedAttention, {"neuron": IntegerSpec(4, False)}, "for LIF neurons"),
        ("sdt_2_256_cifar10dvs", MaskedAttention, {"heads": 7}, "7 heads do not divide"),
        ("sdt_2_256_cifar10dvs", MaskedAttention, {"heads": -8}, "heads do not divide"),
        ("sdt_2_256_cifar10dvs", Fire, {"neuron": LIF_OTHER}, "the leak of a neuron is positive"),
        ("sdt_2_256_cifar10dvs", Head, {"source": 0}, "only a weight layer reads the image"),
        ("sdt_2_256_cifar10dvs", Head, {"bias": np.zeros(1, "f4")}, "do not fit"),
        ("sdt_2_256_cifar10dvs", Head, {"weight": np.zeros((10, 3), "f4")}, "do not fit"),
        ("sdt_2_256_cifar10dvs", Image, {"out": 1}, "the first operation"),
        ("sdt_2_256_cifar10dvs", Pool, {"pad": 2}, "more than half the kernel"),
        ("sdt_2_256_cifar10dvs", Pool, {"kernel": 300}, "out of range"),
        ("e_spikeformer_5m", LinearAttention, {"heads": 0}, "heads do not divide"),
        ("e_spikeformer_5m", LinearAttention, {"heads": 3}, "3 heads do not divide"),
        ("e_spikeformer_5m", LinearAttention, {"neuron": IntegerSpec(256, False)}, "has 1..255 levels"),
        ("e_spikeformer_5m", LinearAttention, {"neuron": IntegerSpec(0, False)}, "has 1..255 levels"),
        ("e_spikeformer_5m", LinearAttention, {"k": 2}, "is of kind|do not fit"),
    ],
)  # fmt: skip
def test_operations_that_do_not_fit(name: str, kind: type, values: dict, why: str) -> None:
    plan = edited(name, kind, **values)
    with pytest.raises(InputError, match=why):
        check_plan(plan)


def test_counts_must_not_exceed_the_levels_of_the_layer_that_reads_them() -> None:
    plan = edited("e_spikeformer_5m", WeightLayer, 2, levels=1)
    with pytest.raises(InputError, match=r"its input counts to \d, but levels is 1"):
        check_plan(plan)


def test_saving_a_plan_that_could_not_be_loaded_is_refused(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="time_steps"):
        file.save(dataclasses.replace(plan, time_steps=0), tmp_path / "x")
    assert not (tmp_path / "x").exists()
