"""Every line of the README's two examples, from the built wheel, in a folder without the sources.

What a line needs and a test cannot have (the data sets of the papers, a run that took hours) has to
be asked for in one message. Training is cut to some steps; a checkpoint of the authors is imitated
by weights under their names.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.golden import rule

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
#: First words of lines that ask for something that is not here, and what their message names.
ASKS = {
    "spikedriven train sdt_cifar10_2_512": "cifar",
    "torchrun": "imagenet",
    "spikedriven train sdt_gesture_2_256_t16": "gesture",
    "spikedriven stream runs/sdt_gesture_2_256_t16": "sdt_gesture_2_256_t16",
    "spikedriven train e_spikeformer_coco_mask_rcnn_10m": "coco",
    "spikedriven predict runs/fashion_scenes_mask_rcnn": "fashion_scenes_mask_rcnn",
    "spikedriven fetch": "drive.google.com",
    "spikedriven eval sdt_8_768.in1k_288": "8_768.pth.tar",
}
#: Lines that end with another status than 0, by what they found.
STATUS = {"spikedriven audit spikingformer_8_512": 1}  # some layers add only once they are folded
#: Lines that are cut short: what is added to them.
CUT = {
    "spikedriven bench engine": ["--models", "sdt_2_256_cifar", "--rounds", "1"],
    "spikedriven bench train": ["--rounds", "1", "--only", "ours"],
}


def block(language: str) -> str:
    """All examples of the README in one language."""
    text = (ROOT / "README.md").read_text()
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def lines() -> list[str]:
    found = [line.split("  #")[0].strip() for line in block("sh").splitlines()]
    return [line for line in found if line and not line.startswith("make ")]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The unpacked wheel: the only place of the package for what runs here."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*command, str(folder), str(ROOT)], check=True, capture_output=True)
    zipfile.ZipFile(next(folder.glob("*.whl"))).extractall(folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def desk(site, tmp_path_factory):
    """The folder of a user: a short run, a picture, a checkpoint under the authors' names."""
    folder = tmp_path_factory.mktemp("desk")
    weights = rule.weights(rule.load("sdtv1_imagenet_8_512.json"))
    torch.save({"state_dict": weights}, folder / "8_512_checkpoint.pth.tar")
    torch.save({"state_dict": weights}, folder / "8_512.pth.tar")
    Image.fromarray(np.arange(784, dtype=np.uint8).reshape(28, 28)).save(folder / "photo.png")
    words = ["train", "quickstart", "--run.max-steps", "20", "--run.out", "runs/quickstart"]
    assert call(["spikedriven", *words], folder, site).returncode == 0
    return folder


def call(words: list[str], folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """One command line. Commands of the package are run as modules, since a wheel's folder has
    no scripts.
    """
    if words[0] == "spikedriven":
        words = [sys.executable, "-m", *words]
    if words[0] == "torchrun":
        words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "1", *words[3:]]
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "2", "COLUMNS": "120"}
    return subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )


def test_the_example_in_python(site, desk):
    ran = call([sys.executable, "-c", block("python")], desk, site)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert (desk / "sdt.sdp").exists()


@pytest.mark.parametrize("line", lines())
def test_line(line, site, desk):
    if line == "spikedriven demo":
        pytest.skip(
            "a server, which ends by Ctrl-C: tests/demo/test_command.py starts and stops it"
        )
    words = shlex.split(line)
    asks = next((name for start, name in ASKS.items() if line.startswith(start)), None)
    words += next((more for start, more in CUT.items() if line.startswith(start)), [])
    ran = call(words, desk, site)
    printed = ran.stdout + ran.stderr
    assert ran.returncode != -signal.SIGSEGV
    if asks is None:
        assert ran.returncode == STATUS.get(line, 0), printed[-2000:]
    else:
        assert ran.returncode != 0 and asks in printed.lower(), printed[-2000:]
        assert line.startswith("torchrun") or "Traceback" not in printed
