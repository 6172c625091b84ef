"""examples/gradcam.py runs, and its maps are the gradient-weighted sum of the channels."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

import spikedriven as sd

EXAMPLE = Path(__file__).parents[2] / "examples" / "gradcam.py"


def test_the_maps_are_those_of_the_definition():
    example = runpy.run_path(str(EXAMPLE))
    torch.manual_seed(1)
    small = {"embed_dim": 32, "depth": 1, "num_heads": 2, "time_steps": 3}
    model = (
        sd.create_model("spikingformer_2_384_cifar", **small).double().eval()
    )  # a linear head over means
    images, classes = torch.rand(2, 3, 32, 32, dtype=torch.float64), torch.tensor([3, 7])
    found = example["grad_cam"](model, images, classes)
    # a linear classifier over the mean of T and of all positions: the gradient is its weight over
    # their number
    maps = model.forward_features(images).detach().mean(0)
    positions = 3 * maps.shape[2] * maps.shape[3]
    expected = (
        torch.einsum("bc,bchw->bhw", model.head.weight[classes].detach(), maps).relu() / positions
    )
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_a_library_gives_the_same_maps():
    library = pytest.importorskip("pytorch_grad_cam", reason="pip install grad-cam")
    example = runpy.run_path(str(EXAMPLE))
    model = sd.create_model("e_spikeformer_fashion", pretrained=True).eval()
    images = torch.rand(1, 1, 28, 28)
    targets = [library.utils.model_targets.ClassifierOutputTarget(2)]
    layer = example["target_layer"](model)
    with library.GradCAM(model, [layer], reshape_transform=example["over_time"]) as cam:
        found = torch.from_numpy(cam(images, targets))
    ours = example["grad_cam"](model, images, torch.tensor([2]))
    shape = torch.nn.functional.interpolate(ours[None], (28, 28), mode="bilinear")[0]
    assert torch.corrcoef(torch.stack([found.flatten(), shape.flatten()]))[0, 1] > 0.99


def test_the_example_writes_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        sys, "argv", ["gradcam.py", "--out", str(tmp_path / "a.png"), "--images", "2"]
    )
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
