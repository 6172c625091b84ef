"""ONNX and NIR files, and the page, of foreign networks."""

import re
from pathlib import Path

import pytest

import spikedriven as sd
from spikedriven.errors import InputError
from spikedriven.report import write_report
from tests.foreign.looked_at import batch, network
from tests.foreign.networks import BY_NAME, FOREIGN, Foreign


def some(*names: str):
    """All networks; those that are not named among the slow tests."""
    return pytest.mark.parametrize(
        "one",
        [
            one if one.name in names else pytest.param(one, marks=pytest.mark.slow)
            for one in FOREIGN
        ],
        ids=str,
    )


@some("two_inputs", "event_loop", "odd_convolutions")
def test_onnx(one: Foreign, tmp_path: Path):
    """float32 sums in another order: a spike that flipped would show as far more."""
    path = tmp_path / "net.onnx"
    if one.name == "odd_convolutions":
        with pytest.raises(InputError, match=r"adaptive_max_pool2d in adaptive_max; put other"):
            sd.export_onnx(network(one.name), batch(one, 3), path)
        assert not path.exists()
        return
    report = sd.export_onnx(network(one.name), batch(one, 3), path)
    assert report.ok and report.largest_difference < 1e-5 * max(report.largest_output, 1.0)


@pytest.mark.filterwarnings(
    "ignore::spikedriven.errors.FoldWarning"
)  # norms that no layer can take are told
@some("vgg", "real_branch", "two_inputs")
def test_nir(one: Foreign, tmp_path: Path):
    """What NIR can say is in the file and fires alike; what it cannot is listed with the reason."""
    path = tmp_path / "net.nir"
    if one.name in ("sew_resnet_add", "sew_resnet_and"):
        with pytest.raises(InputError, match=r"write x.shape\[0\], not len\(x\)"):
            sd.export_nir(network(one.name), batch(one, 3), path)
        return
    report = sd.export_nir(network(one.name), batch(one, 3), path)
    assert report.ok and report.largest_difference < 1e-5 and report.nodes > 5
    assert all(item.why for item in report.left_out)


# the loop ends in `total / T`, which stays in the forward and is told
@pytest.mark.filterwarnings("ignore::spikedriven.errors.FoldWarning")
@some("two_inputs", "event_loop")
def test_the_page(one: Foreign, tmp_path: Path):
    page = write_report(network(one.name), tmp_path / "page.html", batch(one)).read_text()
    text = re.sub(r"<[^>]+>", " ", page)
    shapes = " and ".join(" x ".join(map(str, x.shape[1:])) for x in one.inputs(1))
    assert f"{one.steps} time steps, input {shapes}." in text
    assert "4 examples" in text and "None: the network has no neuron" not in text
    assert "NO VERDICT" not in text and "Random" not in text
    assert ("After folding: NOT addition-only" in text) == bool(one.findings)
    assert len(re.findall(r"<tr>.*?</tr>", page)) > 20


def test_a_page_needs_what_it_measures_on(tmp_path: Path):
    with pytest.raises(InputError, match="needs what the model is measured on"):
        write_report(network("vgg"), tmp_path / "page.html")
    with pytest.raises(InputError, match="go with a network of your own"):
        write_report("sdt_2_256_cifar", tmp_path / "page.html", batch(BY_NAME["vgg"]))
