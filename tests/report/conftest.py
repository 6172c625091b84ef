"""One short run, its weights built, measured once; every test of the page looks at it."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spikedriven.cli import main
from spikedriven.data import create_dataset
from spikedriven.report.findings import Findings, investigate
from spikedriven.report.page import page
from spikedriven.report.subject import Request, open_subject
from tests.built import build_run
from tests.tasks.toys import masked_autoencoder, recipe
from tests.training.toys import train

TINY = str(Path(__file__).parents[1] / "end_to_end" / "tiny.yaml")
SMALL = ["--model.args.embed_dim", "32", "--model.args.stem_pools", "'1100'"]
#: What a hostile or careless data set might call a class.
HOSTILE = "<script>alert(\"1\")</script> & 'co'"


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "a <b> & run"
    assert main(["train", TINY, "--run.out", str(folder), "--run.max-steps", "40", *SMALL]) == 0
    return build_run(folder)


@pytest.fixture(scope="session")
def found(run: Path) -> Findings:
    request = Request(
        str(run), split="train", accuracy_images=0, images=40, samples=6, maps=2, batch_size=20
    )
    return investigate(open_subject(request))


@pytest.fixture(scope="session")
def found_random() -> Findings:
    """A network that nobody trained, on noise."""
    return investigate(open_subject(Request("sdt_2_256_cifar", img_size=16, time_steps=2)))


@pytest.fixture(scope="session")
def masked_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One epoch of masked pre-training on 100 images, evaluated on the test images."""
    folder = tmp_path_factory.mktemp("masked") / "run"
    base = recipe(masked_autoencoder(), "pretraining")
    data = dataclasses.replace(base.data, val_fraction=0.0, train_fraction=0.01)
    train(dataclasses.replace(base, data=data), folder)
    return folder


@pytest.fixture(scope="session")
def found_masked(masked_run: Path) -> Findings:
    return investigate(
        open_subject(Request(str(masked_run), accuracy_images=50, images=10, samples=3))
    )


@pytest.fixture(scope="session")
def pages(
    found: Findings,
    found_random: Findings,
    found_masked: Findings,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """Files: of the run (one class with a hostile name), of the random network, and of the
    masked pre-training.
    """
    folder = tmp_path_factory.mktemp("pages")
    hostile = dataclasses.replace(found, classes=(HOSTILE, *found.classes[1:]))
    written = {}
    for name, findings in (("run", hostile), ("random", found_random), ("masked", found_masked)):
        written[name] = folder / f"{name}.html"
        written[name].write_text(page(findings), encoding="utf-8")
    return written


@pytest.fixture(scope="session")
def picture_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A garment, as a PNG file."""
    path = tmp_path_factory.mktemp("picture") / "shirt.png"
    create_dataset("fashion-mini", "test")[0][0].save(path)
    return path


@pytest.fixture
def grey() -> np.ndarray:
    return np.asarray(Image.new("RGB", (8, 8), (128, 128, 128)))
