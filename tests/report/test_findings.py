"""What a page shows is what the other commands say."""

import json

import pytest
import torch

import spikedriven as sd
from spikedriven.cli import main
from spikedriven.errors import InputError
from spikedriven.graph.conventions import CONVENTIONS
from spikedriven.report import Request
from spikedriven.report.subject import batches, open_loader, open_subject
from spikedriven.runs.checkpoint import load_run


def test_accuracy_is_that_of_eval(run, found, capsys):
    assert main(["eval", str(run), "--split", "train", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (
        found.accuracy.confusion.tolist() == told["confusion"]
        and found.accuracy.top1 == told["top1"]
    )
    assert found.split_size == told["count"] == 200 and list(found.classes) == list(told["recall"])


def test_rates_per_step_average_to_firing_rates(run, found):
    model, _ = load_run(run)
    expected = sd.firing_rates(model, [batch for batch, _ in batches(found.subject)])
    assert list(found.firing) == list(expected) and found.images == 40
    rates_of = {name: layer.mean_output for name, layer in found.firing.items()}
    for name, rates in rates_of.items():
        assert rates.shape == (2,) and float(rates.mean()) == pytest.approx(
            expected[name], rel=1e-12
        )
    assert len({round(float(r), 6) for rates in rates_of.values() for r in rates}) > 5


def test_energy_and_audit_are_those_of_the_library(run, found):
    model, _ = load_run(run)
    images = [batch for batch, _ in batches(found.subject)]
    assert list(found.energies) == list(CONVENTIONS)
    assert found.measurement.form == "released" and found.measurement.doubts == ()
    for name in ("all-ops", "bit-matched"):
        expected = sd.energy(model, images, name)
        assert found.energies[name].total_mj == pytest.approx(expected.total_mj, rel=1e-9)
    released = sd.audit(model, model.example_input())
    assert found.released.rows == released.rows
    assert (
        found.folded.ok
        and found.folded.ok_as_released
        and len(found.folded.rows) < len(released.rows)
    )


def test_samples_carry_what_the_network_said(run, found):
    model, _ = load_run(run)
    assert len(found.samples) == 6 and len(found.maps) == 2
    for sample in found.samples:
        with torch.no_grad():
            shares = model(sample.image[None]).softmax(1)[0]
        assert int(shares.argmax()) == sample.predicted
        assert float(shares.max()) == pytest.approx(sample.confidence, abs=1e-5)
    assert {sample.right for sample in found.samples} == {True, False}


def test_images_are_spread_over_the_split(found):
    loader = open_loader(found.subject, 40)
    assert list(loader.sampler) == list(range(0, 200, 5))
    assert len(list(open_loader(found.subject, 0).sampler)) == 200
    assert len(list(open_loader(found.subject, 60).sampler)) == 50  # at most what was asked for


def test_random_weights_are_not_judged(found_random):
    assert found_random.accuracy is None and not found_random.samples and not found_random.maps
    first, second = found_random.subject.notes
    assert first.startswith("Random weights") and second.startswith("Random input")
    assert max(float(layer.spikes.max()) for layer in found_random.firing.values()) > 0
    assert found_random.measurement.doubts == ("random weights", "random input")


def test_a_name_with_data_takes_its_classes_and_shows_maps():
    subject = open_subject(
        Request("sdt_2_256_cifar", img_size=16, time_steps=1, data="fashion-mini", images=8)
    )
    assert subject.model.num_classes == 10 and subject.noise is None and not subject.trained
    assert sum(len(batch) for batch, _ in batches(subject)) == 8
    subject = open_subject(Request("sdt_2_512_cifar", img_size=16, time_steps=1))
    assert subject.noise.shape == (4, 3, 16, 16)


def test_what_cannot_be_reported_on_is_one_message(tmp_path, capsys):
    for words, message in (
        (["sdt_2_256_cifa"], "sdt_2_256_cifar"),
        ([str(tmp_path)], "not a run folder"),
        (["sdt_2_256_cifar", "--data", "fashion"], "fashion-mini"),
    ):
        assert main(["report", *words]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(InputError, match="--maps -1"):
        Request("x", maps=-1)
    with pytest.raises(InputError, match="--batch-size 0"):
        Request("x", batch_size=0)
