"""Reports as tables and figures."""

import csv
import io
import sys
from pathlib import Path

import pytest
import torch

import spikedriven as sd
from spikedriven.errors import InputError

SMALL = {"embed_dim": 32, "depth": 1, "num_heads": 2, "time_steps": 2}


@pytest.fixture(scope="module")
def images():
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def model(images):
    torch.manual_seed(0)
    made = sd.create_model("sdt_2_256_cifar", **SMALL)
    sd.calibrate(made, images)
    return made.eval()


@pytest.fixture(scope="module")
def reports(model, images):
    return {
        "audit": sd.audit(model, images),
        "energy": sd.energy(model, images, convention="lemaire"),
        "rates": sd.firing_rates(model, images),
        "program": sd.compile(model, images),
    }


KINDS = ("audit", "energy", "rates", "program")


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_has_the_records(reports, kind):
    pytest.importorskip("pandas")
    frame = reports[kind].to_pandas()
    records = reports[kind].records()
    assert len(frame) == len(records) > 3 and list(frame.columns) == list(records[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_has_the_records(reports, kind, tmp_path: Path):
    text = reports[kind].to_csv(tmp_path / "a.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text())))
    records = reports[kind].records()
    expected = [{k: "" if v is None else str(v) for k, v in row.items()} for row in records]
    assert rows == expected and (tmp_path / "a.csv").read_text() == text


@pytest.mark.parametrize("kind", KINDS)
def test_a_notebook_shows_a_table(reports, kind):
    shown = reports[kind]._repr_html_()
    assert shown.count("<tr>") == len(reports[kind].records()) + 1
    assert all(
        line in shown
        for line in reports[kind].headline().splitlines()
        if "<" not in line and "'" not in line
    )


def test_what_stands_in_a_table_is_escaped(reports):
    assert "<b>" not in type(reports["rates"])({"<b>": 0.5})._repr_html_()


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_draws_itself(reports, kind, tmp_path: Path):
    figure = reports[kind].plot()
    assert figure._repr_png_().startswith(b"\x89PNG")
    figure.savefig(tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size > 1000


def test_the_energy_of_the_figure_is_that_of_the_report(reports):
    report = reports["energy"]
    axis = report.plot().axes[0]
    drawn = [float(text.get_text()) for text in axis.texts]
    ann = [report.comparison.partner(name).ann_mj for name in ("fp32", "int8")]
    shown = [report.total_mj, *ann]
    assert [value / drawn[0] for value in drawn] == pytest.approx(
        [value / shown[0] for value in shown], rel=0.02
    )
    tops = [bar.get_y() + bar.get_height() for bar in axis.patches]
    assert tops[len([row for row in report.rows if row.picojoule]) - 1] == pytest.approx(tops[-3])


def test_rates_are_a_dictionary_still(reports):
    rates = reports["rates"]
    assert isinstance(rates, dict) and rates.records()[0] == {
        "neuron": next(iter(rates)),
        "rate": rates[next(iter(rates))],
    }


def test_without_pandas_there_is_one_clear_error(reports, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match="to_pandas needs pandas: pip install pandas"):
        reports["audit"].to_pandas()


def test_a_program_tells_what_it_is(reports):
    told = str(reports["program"])
    assert told.startswith("spikedriven program") and "time steps" in told and "weights" in told
