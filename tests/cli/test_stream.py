"""The stream command: equal to the batch result, in constant memory, and helpful where it
cannot go on.
"""

import dataclasses
import json
import os
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from spikedriven import create_model
from spikedriven.cli import main, stream
from spikedriven.data import build_eval_loader, config_for, create_dataset
from spikedriven.data.events import Events, save_events
from spikedriven.data.events.fashion_events import DIRECTIONS, FashionEvents
from spikedriven.data.events.framing import to_frames
from spikedriven.data.events.transforms import resize
from spikedriven.recipes import load_recipe
from spikedriven.recipes.reading import recipe_to_yaml
from spikedriven.runs.checkpoint import load_run
from spikedriven.tasks.streaming import Prediction, Usage
from tests.built import build_run, build_weights
from tests.data.events.formats.words import listed
from tests.data.events.sets import write_har

SMALL = {
    "embed_dim": 16,
    "depth": 1,
    "stem_pools": "1110",
    "num_heads": 2,
    "mlp_ratio": 1,
    "released_params": False,
}


def make_run(folder: Path, **data: Any) -> Path:
    """A run of one step, then with built weights: labels direction unless `data` says otherwise."""
    recipe = load_recipe("study_events_sdt_direction")
    model = dataclasses.replace(recipe.model, args=SMALL)
    data = {"workers": 0, "train_fraction": 0.003, "val_fraction": 0.01, **data}
    recipe = dataclasses.replace(recipe, model=model, data=dataclasses.replace(recipe.data, **data))
    folder.mkdir()
    recipe = dataclasses.replace(
        recipe,
        run=dataclasses.replace(recipe.run, batch_size=8, max_steps=1),
        schedule=dataclasses.replace(recipe.schedule, epochs=1, warmup_epochs=0.0, warmup_lr=0.0),
    )
    (folder / "one.yaml").write_text(recipe_to_yaml(recipe))
    assert main(["train", str(folder / "one.yaml"), "--run.out", str(folder / "run")]) == 0
    return build_run(folder / "run")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("stream") / "direction")


@pytest.fixture(scope="module")
def by_number(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(
        tmp_path_factory.mktemp("stream") / "number",
        labels="garment",
        split_by="number",
        time_steps=5,
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The events of test clip 4 of fashion-events, direction."""
    dataset = create_dataset(load_recipe("study_events_sdt_direction").data, "test")
    assert isinstance(dataset, FashionEvents)
    path = tmp_path_factory.mktemp("clip") / "clip.npz"
    save_events(path, dataset.events(4))
    return path


def streamed(words: list[Any], capsys: pytest.CaptureFixture[str]) -> list[dict]:
    capsys.readouterr()
    assert main(["stream", *map(str, words), "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def events_of(path: Path) -> Events:
    with np.load(path) as arrays:
        return Events(
            *(arrays[name] for name in "txyp"), int(arrays["height"]), int(arrays["width"])
        )


def logits_of(model: torch.nn.Module, frames: torch.Tensor) -> torch.Tensor:
    """What the network says to all frames [T, 2, H, W] at once."""
    with torch.inference_mode():
        return model(frames[None])[0]


def test_the_last_prediction_is_that_of_the_evaluation(
    run: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, recipe = load_run(run)
    loader = build_eval_loader(recipe.data, "test", batch_size=5)
    frames, _labels = next(iter(loader))
    with torch.inference_mode():
        every = model.eval()(frames)
    wanted = every[4]
    assert ((every - wanted).abs().amax(1) > 1e-3).sum() == 4, "each clip has its own answer"
    found = streamed([run, clip], capsys)
    assert [line["step"] for line in found] == list(range(1, 9))
    assert [line["end_us"] for line in found] == [37_500 * step for step in range(1, 9)]
    assert [line["events"] for line in found] == frames[4].sum((1, 2, 3)).tolist()
    assert torch.allclose(torch.tensor(found[-1]["logits"]), wanted, rtol=1e-4, atol=1e-5)
    assert (
        found[-1]["class"] == int(wanted.argmax())
        and found[-1]["label"] == DIRECTIONS[found[-1]["class"]]
    )
    assert found[-1]["share"] == pytest.approx(float(wanted.softmax(0).max()), rel=1e-4)


def counts_between(events: Events, start: int, stop: int) -> torch.Tensor:
    part, counts = events.between(start, stop), np.zeros((2, 34, 34), np.float32)
    np.add.at(counts, (part.p.astype(int), part.y, part.x), 1)
    return torch.from_numpy(counts)


def test_every_prediction_is_that_of_the_steps_so_far(
    run: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events, model = events_of(clip), load_run(run)[0].eval()
    frames = torch.stack(
        [counts_between(events, start, start + 20_000) for start in range(0, 300_000, 20_000)]
    )
    found = streamed([run, clip, "--step-us", 20_000], capsys)
    assert len(found) == 15 == len({tuple(line["logits"]) for line in found}), (
        "no two predictions are the same"
    )
    for step, line in enumerate(found, 1):
        assert torch.allclose(
            torch.tensor(line["logits"]), logits_of(model, frames[:step]), rtol=1e-4, atol=1e-5
        )
    again = streamed([run, clip, "--step-us", 20_000, "--restart", 4], capsys)
    for step, line in enumerate(again, 1):
        first = (step - 1) // 4 * 4
        assert torch.allclose(
            torch.tensor(line["logits"]), logits_of(model, frames[first:step]), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize(
    "change", [{}, {"values": "binary"}, {"img_size": 28}, {"split_by": "time"}]
)
def test_whole_is_one_clip_as_in_training(
    change: dict, tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(
        tmp_path / "run", **{"labels": "garment", "split_by": "number", "time_steps": 4, **change}
    )
    data, events = load_run(run)[1].data, events_of(clip)
    frames = torch.from_numpy(to_frames(events, data))
    if data.split_by == "time":  # fashion-events counts from 0, recordings from their first event
        frames = torch.stack(
            [counts_between(events, start, start + 75_000) for start in range(0, 300_000, 75_000)]
        )
    found = streamed([run, clip, "--whole"], capsys)
    assert len(found) == 4 and sum(line["events"] for line in found) == len(events)
    wanted = logits_of(load_run(run)[0].eval(), resize(frames, data))
    assert torch.allclose(torch.tensor(found[-1]["logits"]), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("step_us", [None, 30_000, 200_000])
def test_whole_of_a_recorded_set_is_split_by_time_as_in_training(
    step_us: int | None, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = config_for("dvs128-gesture", split_by="time", time_steps=4, step_us=step_us)
    frames = list(stream._whole(stream.Arguments(target="", file=clip), data, Usage(4)))
    found = np.stack([frame.counts for frame in frames])
    assert np.array_equal(found, to_frames(events_of(clip), data))


def test_events_per_step(by_number: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = events_of(clip)
    found = streamed([by_number, clip, "--events-per-step", 1000], capsys)
    assert [line["events"] for line in found] == [1000] * (len(events) // 1000)
    assert [line["end_us"] for line in found] == events.t[999 : 1000 * len(found) : 1000].tolist()


def test_text_has_a_line_a_step(run: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stream", str(run), str(clip)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        len(lines) == 8 and "0.300 s" in lines[-1] and any(name in lines[-1] for name in DIRECTIONS)
    )


def test_labels_from_a_file(
    run: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"way {k}" for k in range(8)) + "\n")
    assert streamed([run, clip, "--labels", names], capsys)[-1]["label"].startswith("way ")
    names.write_text("a\nb\n")
    assert main(["stream", str(run), str(clip), "--labels", str(names)]) == 2
    assert "2 names of classes for a network that tells 8 apart" in capsys.readouterr().err
    assert main(["stream", str(run), str(clip), "--labels", str(tmp_path)]) == 2
    assert "cannot be read as text" in capsys.readouterr().err


def test_a_model_name_with_a_checkpoint(
    tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = build_weights(create_model("sdt_2_256_gesture", num_classes=10, img_size=34))
    weights = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(model.state_dict(), weights)
    words = [
        "sdt_2_256_gesture",
        clip,
        "--checkpoint",
        weights,
        "--time-steps",
        16,
        "--img-size",
        34,
    ]
    found = streamed([*words, "--data", "fashion-events", "--step-us", 150_000], capsys)
    first = int(events_of(clip).t[0])
    frames = torch.stack(
        [counts_between(events_of(clip), first + k, first + k + 150_000) for k in (0, 150_000)]
    )
    with torch.inference_mode():
        assert torch.allclose(
            torch.tensor(found[-1]["logits"]), model(frames[None])[0], rtol=1e-4, atol=1e-5
        )
    assert main(["stream", *map(str, words)]) == 2
    assert "needs --checkpoint FILE and --data NAME" in capsys.readouterr().err


def test_training_and_evaluation_say_how_much_is_used(
    tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five steps of 12 ms of clips of 300 ms, and eight that have all of it."""
    short = make_run(
        tmp_path / "run", labels="garment", split_by="time", time_steps=5, step_us=12_000
    )
    said = capsys.readouterr().err
    used = json.loads((short / "log.jsonl").read_text().splitlines()[0])["used"]
    assert (
        used.startswith("5 steps of 12 ms use 0.1 of 0.3 s: ")
        and "% of events (medians of 8 of " in used
        and used in said
    )
    assert main(["eval", str(short), "--split", "val"]) == 0
    assert "5 steps of 12 ms use 0.1 of 0.3 s: " in capsys.readouterr().err
    start = json.loads((run / "log.jsonl").read_text().splitlines()[0])
    assert start["used"] == "8 steps of equal time use all of each recording"


def test_attention_takes_a_recording(
    by_number: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The maps are those of the frames as the run's data make them."""
    frames = to_frames(events_of(clip), load_run(by_number)[1].data)
    np.save(tmp_path / "frames.npy", frames)
    shown = []
    for source in (clip, tmp_path / "frames.npy"):
        capsys.readouterr()
        assert (
            main(
                [
                    "attention",
                    str(by_number),
                    str(source),
                    "--out",
                    str(tmp_path / "maps.png"),
                    "--json",
                ]
            )
            == 0
        )
        shown.append(json.loads(capsys.readouterr().out))
    assert shown[0] == shown[1] and np.shape(shown[0][0]["rates"])[0] == 5
    assert main(["attention", "sdt_2_256_gesture", str(clip)]) == 2
    assert "only a run tells how frames are made of events" in capsys.readouterr().err


def long_recording(path: Path, events: int) -> Path:
    """Uncompressed, so that making it needs little time."""
    rng = np.random.default_rng(0)
    x, y = (rng.integers(0, 34, events).astype(np.int16) for _ in range(2))
    t = np.arange(events, dtype=np.int64) * 100
    np.savez(path, t=t, x=x, y=y, p=rng.random(events) < 0.5, height=34, width=34)
    return path


def peak_memory(run: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """(bytes that Python objects and arrays take at most, number of predictions) while a file
    is streamed.
    """
    seen = [0]

    def count(*_arguments: Any) -> None:
        seen[0] += 1

    monkeypatch.setattr(stream, "_print", count)
    tracemalloc.start()
    assert main(["stream", str(run), str(file), "--events-per-step", "50000"]) == 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, seen[0]


def test_memory_does_not_grow_with_the_recording(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peak_memory(run, long_recording(tmp_path / "first.npz", 100_000), monkeypatch)  # imports
    short, few = peak_memory(run, long_recording(tmp_path / "short.npz", 200_000), monkeypatch)
    long, many = peak_memory(run, long_recording(tmp_path / "long.npz", 1_000_000), monkeypatch)
    assert (few, many) == (4, 20)
    assert long < short + 2**18, (
        "the long recording is 13 MB, of which the stream holds 64 Ki events at a time"
    )


def said(words: list[Any], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines that `stream` tells beside its predictions."""
    capsys.readouterr()
    assert main(["stream", *map(str, words)]) == 0
    return [line for line in capsys.readouterr().err.splitlines() if line]


def test_it_says_how_much_was_used_and_that_it_was_trained_on_fewer_steps(
    run: Path, by_number: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run was trained on 8 steps of 37.5 ms; the clip has 16,789 events in 0.3 s."""
    assert said([run, clip], capsys) == [f"{clip}: 0.3 of 0.3 s: 100 % of events, in 8 steps"]
    warned, last = said([run, clip, "--step-us", 20_000], capsys)
    assert warned == (
        "step 9: the network was trained on 8 steps, and is at step 9 since its neurons were at "
        "rest. --restart 8 "
        "begins anew after as many"
    )
    assert (
        last == f"{clip}: 0.3 of 0.3 s: 100 % of events, in 15 steps (trained on 8; see --restart)"
    )
    assert len(said([run, clip, "--step-us", 20_000, "--restart", 8], capsys)) == 1
    (last,) = said([by_number, clip, "--events-per-step", 4000], capsys)
    share = f"{16_000 / len(events_of(clip)):.0%}".replace("%", " %")
    assert last == f"{clip}: 0.3 of 0.3 s: {share} of events, in 4 steps"


def test_whole_says_what_the_steps_leave_out(clip: Path) -> None:
    """Four steps of 30 ms of the clip's 300 ms."""
    data, used = (
        config_for("dvs128-gesture", split_by="time", time_steps=4, step_us=30_000),
        Usage(4),
    )
    for step, frame in enumerate(
        stream._whole(stream.Arguments(target="", file=clip), data, used), 1
    ):
        assert used.add(Prediction(step, frame.end_us, frame.events, torch.zeros(1))) == ""
    events = events_of(clip)
    kept = len(events.between(int(events.t[0]), int(events.t[0]) + 120_000)) / len(events)
    share = f"{kept:.0%}".replace("%", " %")
    assert 0.3 < kept < 0.5 and str(used) == f"0.1 of 0.3 s: {share} of events, in 4 steps"


def write_slowly(path: Path | int, data: bytes) -> None:
    with FileIO(path, "w") as file:
        file.write(data[: len(data) // 2])
        time.sleep(0.1)
        file.write(data[len(data) // 2 :])


@pytest.mark.parametrize("by", ["pipe", "standard input", "follow"])
def test_a_recording_from_a_pipe_or_while_it_grows(
    by: str,
    run: Path,
    clip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In two pieces with a pause: the same predictions as of the finished file."""
    text = "t,x,y,p\n" + "".join(
        f"{t},{x},{y},{int(p)}\n" for t, x, y, p in listed(events_of(clip))
    )
    place, where = tmp_path / "growing.csv", str(tmp_path / "growing.csv")
    target: Path | int = place
    if by == "pipe":
        os.mkfifo(place)
    elif by == "follow":
        place.write_bytes(b"")
    else:
        source, target = os.pipe()
        where = "-"
        monkeypatch.setattr(sys, "stdin", FileIO(source))
    writer = threading.Thread(target=write_slowly, args=(target, text.encode()))
    writer.start()
    follow = ["--follow", "0.4"] if by == "follow" else []
    found = streamed([run, where, "--height", "34", "--width", "34", *follow], capsys)
    writer.join()
    if by == "standard input":
        sys.stdin.close()
    assert found == streamed([run, clip], capsys)


def refusals(
    run: Path, by_number: Path, clip: Path, tmp_path: Path
) -> Iterator[tuple[list[Any], str]]:
    few = tmp_path / "few.npz"
    save_events(few, events_of(clip)[:3])
    broken = tmp_path / "broken.npz"
    broken.write_bytes(clip.read_bytes()[:2000])
    text = tmp_path / "text.txt"
    text.write_text("no events")
    yield (
        [by_number, clip],
        "5 steps of equal numbers of events: how much that is, only the end of a recording tells",
    )
    yield [by_number, few, "--whole"], "3 events, too few for 5 steps"
    yield [by_number, few, "--events-per-step", 100], "not enough events for one step"
    yield (
        [run, clip, "--whole", "--step-us", 5],
        "give one of --step-us, --events-per-step and --whole",
    )
    yield [run, clip, "--step-us", 0], "expected at least 1, found 0"
    yield [run, "-", "--whole"], "--whole reads a finished file twice; - can be read once"
    yield (
        [run, clip, "--follow", 1],
        ".npz is read from a finished file, not from a pipe or while it grows",
    )
    yield [run, clip, "--restart", 0], "--restart: expected at least 1, found 0"
    yield [run, tmp_path / "nowhere.npz"], "cannot be read: No such file"
    yield [run, broken], "cannot be read as an .npz archive"
    yield [run, text], "line 1: which number is time, column, row and polarity?"
    yield ["sdt_2_256_gesture", clip], "it needs --checkpoint FILE and --data NAME"
    yield ["sdt_2_256_gestur", clip], "no model is called"


def test_what_cannot_be_done_says_why(
    run: Path, by_number: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, message in refusals(run, by_number, clip, tmp_path):
        assert main(["stream", *map(str, words)]) == 2, words
        assert message in " ".join(capsys.readouterr().err.split()), words


def test_a_network_for_images_is_refused(
    tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = Path(__file__).parents[1] / "end_to_end" / "tiny.yaml"
    assert (
        main(["train", str(tiny), "--run.out", str(tmp_path / "run"), "--run.max-steps", "1"]) == 0
    )
    assert main(["stream", str(tmp_path / "run"), str(clip)]) == 2
    assert "was made for fashion-mini, not for events" in capsys.readouterr().err


def test_a_network_for_pictures_of_events_is_refused(
    tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = ["--model.name", "sdt_2_256_gesture", "--model.time-steps", "2"]
    network += [
        word
        for key, value in SMALL.items()
        if key != "stem_pools"
        for word in (f"--model.args.{key}", str(value))
    ]
    write_har(tmp_path)
    words = [
        "--data.root",
        str(tmp_path),
        "--data.time-steps",
        "2",
        "--data.img-size",
        "32",
        "--data.workers",
        "0",
    ]
    words += [
        "--run.batch-size",
        "4",
        "--run.max-steps",
        "1",
        "--run.amp",
        "none",
        "--run.device",
        "cpu",
    ]
    out = tmp_path / "run"
    assert main(["train", "e_spikeformer_hardvs_19m", *network, *words, "--run.out", str(out)]) == 0
    assert main(["stream", str(out), str(clip), "--step-us", "5000"]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "was trained on har-dvs: pictures of events" in message and "spikedriven eval" in message


def test_evaluation_and_listing_say_simulated(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(run), "--split", "val"]) == 0
    assert "fashion-events (simulated, direction), 98 samples" in capsys.readouterr().out
    assert main(["eval", str(run), "--split", "val", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == "fashion-events (simulated, direction)"
    assert main(["data", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert "simulated" in rows["fashion-events"]["image"] and rows["fashion-events"]["found"]


def test_energy_compile_and_the_log_say_simulated(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "fashion-events (simulated, direction)"
    assert main(["energy", str(run), "--images", "4"]) == 0
    assert f"measured on test samples of {said}" in capsys.readouterr().out
    assert main(["energy", str(run), "--images", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == said
    assert (
        main(["compile", str(run), "--images", "2", "--out", str(tmp_path / "file.sdp"), "--json"])
        == 0
    )
    assert json.loads(capsys.readouterr().out)["inputs"] == f"test samples of {said}"
    assert json.loads((run / "log.jsonl").read_text().splitlines()[0])["data"] == said


def test_the_report_says_simulated(run: Path, tmp_path: Path) -> None:
    words = ["--accuracy-images", "8", "--images", "4", "--samples", "0", "--maps", "0"]
    assert (
        main(["report", str(run), "--split", "val", "--out", str(tmp_path / "page.html"), *words])
        == 0
    )
    assert "fashion-events (simulated, direction)" in (tmp_path / "page.html").read_text()
