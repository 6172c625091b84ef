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
from spikedriven.engine.describe import needed_bytes
from spikedriven.engine.program import (
    Fire,
    Head,
    Image,
    LinearAttention,
    MaskedAttention,
    Plan,
    Pool,
    WeightLayer,
)
from spikedriven.errors import CheckpointError, InputError
from spikedriven.kernels.extension import available
from spikedriven.kernels.spec import IntegerSpec, LIFSpec
from spikedriven.models.names import name_classes
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


# Round trip
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_program_is_the_saved_one(name: str, tmp_path: Path) -> None:
    plan, path = thin_plan(name), tmp_path / "a.sdp"
    Program(plan, native=False).save(path)
    back = file.load(path)
    for field in ("time_steps", "maps", "inputs", "outputs"):
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


def test_a_program_that_needs_more_memory_than_expected(plan: Plan, tmp_path: Path) -> None:
    path, needed = tmp_path / "a", needed_bytes(plan)
    file.save(plan, path)
    assert len(file.load(path, max_bytes=needed).maps) == len(plan.maps)
    with pytest.raises(CheckpointError, match=f"if you trust it, load it with max_bytes={needed}"):
        sd.load_program(path, max_bytes=needed - 1)
    with pytest.raises(CheckpointError, match=r"more than the limit of 0\.0 MB"):
        sd.load_program(path, max_bytes=1)
    with pytest.raises(InputError, match="max_bytes must be a positive whole number"):
        sd.load_program(path, max_bytes=0)


# Damage
# --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = tmp_path_factory.mktemp("damage") / "a.sdp"
    file.save(thin_plan("spikingformer_2_256_dvs"), path)
    return path, path.read_bytes()


def test_no_such_file_a_folder_and_other_files(tmp_path: Path) -> None:
    refused(tmp_path / "missing", "cannot be read")
    refused(tmp_path, "is no file")
    refused(Path("/dev/zero"), "is no file")
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


# Files that are whole, but ask for what cannot be
# ------------------------------------------------------------------

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


def of_input(**values: object) -> Edit:
    return lambda described, _: described["inputs"][0].update(values)


def of_output(**values: object) -> Edit:
    return lambda described, _: described["outputs"][0].update(values)


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


def twice(kind: str) -> Edit:
    def edit(described: dict, arrays: dict) -> None:
        described["operations"].append(
            next(o for o in described["operations"] if o["operation"] == kind)
        )

    return edit


def without(name: str) -> Edit:
    return lambda described, _: layer_of(described).pop(name)


def with_first(array: np.ndarray, value: float) -> np.ndarray:
    array = array.copy()
    array.flat[0] = value
    return array


CRAFTED: dict[str, tuple[Edit, str]] = {
    "a field too many": (
        of_layer(extra=1),
        "operation 1: missing or unknown fields of WeightLayer: extra",
    ),
    "a field too few": (without("padding"), "unknown fields of WeightLayer: padding"),
    "a map's field too many": (of_map(extra=1), "maps 2: missing or unknown fields of Map: extra"),
    "a neuron's field too many": (of_neuron(extra=1), "unknown fields of LIFSpec: extra"),
    "unknown operation": (of_layer(operation="Shell"), "unknown operation 'Shell'"),
    "operation without a name": (without("operation"), "unknown operation None"),
    "operation that is a number": (
        lambda d, _: d["operations"].append(3),
        "unknown operation None",
    ),
    "unknown neuron": (of_neuron(kind="izhikevich"), "unknown neuron 'izhikevich'"),
    "neuron that is a list": (of_layer(neuron=[1]), "unknown neuron None"),
    "maps that are no list": (of_top(maps={}), "maps must be a list"),
    "no operations": (of_top(operations=[]), "arrays that no operation has"),
    "bool for int": (of_layer(groups=True), "groups has the wrong type"),
    "float for int": (of_map(height=4.0), "height has the wrong type"),
    "int for bool": (of_neuron(hard_reset=1), "hard_reset has the wrong type"),
    "text for float": (of_neuron(leak="2"), "leak has the wrong type"),
    "NaN": (of_neuron(threshold=float("nan")), "threshold has the wrong type"),
    "infinity": (of_neuron(rest=float("inf")), "rest has the wrong type"),
    "too large for float32": (of_neuron(rest=1e39), "rest has the wrong type"),
    "too large for int32": (of_layer(groups=2**31), "groups has the wrong type"),
    "a number for a list": (of_layer(stride=1), "stride must be a list"),
    "a list of the wrong length": (of_layer(stride=[1, 1, 1]), "stride has the wrong type"),
    "a list of lists": (of_layer(stride=[[1], [1]]), "stride has the wrong type"),
    "name that is no text": (of_map(name=7), "name has the wrong type"),
    "NaN in scale": (
        of_array("scale", lambda a: with_first(a, np.nan)),
        "scale has the wrong type or value",
    ),
    "infinity in bias": (
        of_array("bias", lambda a: with_first(a, np.inf)),
        "bias has the wrong type or value",
    ),
    "double scale": (of_array("scale", lambda a: a.astype(np.float64)), "scale has the wrong type"),
    "unsigned weights": (
        of_array("weight", lambda a: a.astype(np.uint8), operation=2),
        "weight has the wrong type",
    ),
    "weights of 32 bits": (
        of_array("weight", lambda a: a.astype(np.int32), operation=2),
        r"operation 2 \(WeightLayer\): weights of 23 bits are no more; compile the network again",
    ),
    "integer weights on the image": (
        of_array("weight", lambda a: a.astype(np.int16)),
        "'float' with weights int16",
    ),
    "fewer scales": (of_array("scale", lambda a: a[1:]), "scale .* must be"),
    "flat weights": (of_array("weight", lambda a: a.reshape(-1)), "its weight is"),
    "more inputs than channels": (
        of_array("weight", lambda a: a.repeat(2, axis=1)),
        "but its input has",
    ),
    "no outputs": (of_array("weight", lambda a: a[:0]), "its weight is"),
    "an array too many": (
        lambda d, a: a.update(secret=np.zeros(2)),
        "arrays that no operation has: secret",
    ),
    "an array too few": (lambda d, a: a.pop("1.bias"), "the array '1.bias' is missing"),
    "mode": (of_layer(mode="magic"), "mode must be one of"),
    "levels 0": (of_map(levels=0), "levels must lie in 1..255"),
    "levels 256": (of_map(levels=256), "levels must lie in 1..255"),
    "stride 0": (of_layer(stride=[0, 1]), "out of range"),
    "negative padding": (of_layer(padding=[0, -1, 0, 0]), "out of range"),
    "huge padding": (of_layer(padding=[0, 0, 10**6, 0]), "out of range"),
    "reads a map that is not there": (of_layer(source=999), "names map 999"),
    "reads a negative map": (of_layer(source=-1), "names map -1"),
    "reads a later map": (of_layer(source=9), "reads map 9 before it is written"),
    "writes a map twice": (twice("Fire"), r"writes map \d+ a second time"),
    "spikes without a neuron": (of_layer(neuron=None), "spikes and neuron belong together"),
    "dilation 0": (of_layer(dilation=[1, 0]), "out of range"),
    "spread 0": (of_layer(spread=[0, 1]), "out of range"),
    "groups that do not divide": (of_layer(groups=3), "groups do not divide|in 3 groups"),
    "no groups": (of_layer(groups=0), "0 groups do not divide"),
    "a membrane that is not there": (of_layer(before=999), "names map 999"),
    "a membrane of another shape": (of_layer(before=0), "map 0 is"),
    "output of no map": (of_output(map=10**6), "output 0 is map 1000000"),
    "output of a negative map": (of_output(map=-1), "output 0 is map -1"),
    "axes that nobody knows": (of_output(axes="BXC"), "output 0: axes are B and some of"),
    "axes twice": (of_output(axes="BCC"), "output 0: axes are B and some of"),
    "axes without a batch": (of_output(axes="TC"), "output 0: axes are B and some of"),
    "axes that leave out time": (of_output(axes="BC"), "its axes 'BC' have no T"),
    "axes that leave out channels": (of_output(axes="TB"), "which its axes 'TB' leave out"),
    "no output": (of_top(outputs=[]), "a program has an output"),
    "no input": (of_top(inputs=[]), "a program has an input"),
    "an input that no operation reads in": (
        lambda d, _: d["inputs"].append(d["inputs"][0]),
        "each input has one operation Image",
    ),
    "some names": (
        lambda d, _: d["outputs"].append({**d["outputs"][0], "name": "a"}),
        "outputs all have a name",
    ),
    "unit 0": (of_map(unit=0.0), "its unit must lie in"),
    "no time": (of_top(time_steps=0), "time_steps must lie in"),
    "much time": (of_top(time_steps=10**6), "time_steps must lie in"),
    "absurd height": (of_map(height=10**9), "sizes must lie in"),
    "absurd area": (of_map(height=2**15, width=2**15), "values, more than"),
    "no channels": (of_map(channels=0), "sizes must lie in"),
    "kind": (of_map(kind="unreal"), "its kind must be one of"),
    "steps": (of_map(steps=3), "has 3 steps"),
    "other shape": (of_map(width=5), "expected"),
    "no leak to divide by": (of_neuron(leak=0.0), "the leak of a neuron lies in"),
    "the input's time axis": (of_input(axes="BCHW"), "its axes say 1"),
}


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
        ({"version": 1}, "reads 'spikedriven program' versions 2 to 3; compile the network again"),
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


def test_a_program_of_version_2_is_read(plan: Plan, tmp_path: Path) -> None:
    wide = (o for o in plan.operations if isinstance(o, WeightLayer))
    crafted(plan, tmp_path / "x", lambda described, arrays: None, version=2)
    read = (o for o in file.load(tmp_path / "x").operations if isinstance(o, WeightLayer))
    assert all(np.array_equal(a.weight, b.weight) for a, b in zip(wide, read, strict=True))


def test_a_description_that_nests_too_deep(tmp_path: Path) -> None:
    for text in ("[" * 100000, '{"format":' * 50000, "1" * 10000, "null", '"text"'):
        (tmp_path / "x").write_bytes(safetensors.numpy.save({"a": np.zeros(1)}, {file.KEY: text}))
        refused(tmp_path / "x", "no program file")


# The check of plans, by operation
# ----------------------------------------------------------------------------------


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
        (
            "sdt_2_256_cifar10dvs",
            MaskedAttention,
            {"neuron": IntegerSpec(4, False)},
            "for LIF neurons",
        ),
        ("sdt_2_256_cifar10dvs", MaskedAttention, {"heads": 7}, "7 heads do not divide"),
        ("sdt_2_256_cifar10dvs", MaskedAttention, {"heads": -8}, "heads do not divide"),
        ("sdt_2_256_cifar10dvs", Fire, {"neuron": LIF_OTHER}, "the leak of a neuron lies in"),
        ("sdt_2_256_cifar10dvs", Head, {"source": 0}, "a classifier reads one position"),
        ("sdt_2_256_cifar10dvs", Head, {"bias": np.zeros(1, "f4")}, "do not fit"),
        ("sdt_2_256_cifar10dvs", Head, {"weight": np.zeros((10, 3), "f4")}, "do not fit"),
        ("sdt_2_256_cifar10dvs", Image, {"out": 1}, "each input has one operation"),
        (
            "sdt_2_256_cifar10dvs",
            Pool,
            {"rows": np.array([[0, 99, 1]], "i4")},
            "windows must lie within",
        ),
        ("sdt_2_256_cifar10dvs", Pool, {"how": "median"}, "how must be one of"),
        ("e_spikeformer_5m", LinearAttention, {"heads": 0}, "heads do not divide"),
        ("e_spikeformer_5m", LinearAttention, {"heads": 3}, "3 heads do not divide"),
        (
            "e_spikeformer_5m",
            LinearAttention,
            {"neuron": IntegerSpec(256, False)},
            "has 1..255 levels",
        ),
        (
            "e_spikeformer_5m",
            LinearAttention,
            {"neuron": IntegerSpec(0, False)},
            "has 1..255 levels",
        ),
        ("e_spikeformer_5m", LinearAttention, {"k": 2}, "is of kind|do not fit"),
    ],
)
def test_operations_that_do_not_fit(name: str, kind: type, values: dict, why: str) -> None:
    plan = edited(name, kind, **values)
    with pytest.raises(InputError, match=why):
        check_plan(plan)


def test_saving_a_plan_that_could_not_be_loaded_is_refused(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="time_steps"):
        file.save(dataclasses.replace(plan, time_steps=0), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_names_of_the_outputs_are_kept_and_guarded(plan: Plan, tmp_path: Path) -> None:
    program, path = Program(plan, native=False), tmp_path / "named.sdp"
    program.classes = ("cat", "dog")
    program.save(path)
    assert sd.load_program(path, native=False).classes == ("cat", "dog")
    assert file.load(path).time_steps == plan.time_steps
    path.write_bytes(path.read_bytes().replace(b"dog", b"dig"))
    refused(path, "'classes' is not what was written")
    Program(plan, native=False).save(path)
    assert sd.load_program(path, native=False).classes == ()


def test_a_compiled_network_has_the_names_of_its_classes() -> None:
    model, x = thin("sdt_2_256_cifar10dvs")
    name_classes(model, ("cat", "dog"))
    assert sd.compile(model, x, native=False).classes == ("cat", "dog")
