"""The time axes of QKFormer: the corrected network keeps images apart, the released does not."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import spikedriven as sd
from spikedriven.errors import InputError
from spikedriven.layers import DropPath
from tests.networks import enliven, live_input

SMALL = {"embed_dim": 32, "depths": (1, 1, 2), "num_heads": 4, "num_classes": 5, "time_steps": 3}


def twins() -> tuple[nn.Module, nn.Module]:
    """The corrected and the released form with the same weights."""
    models = [
        enliven(sd.create_model("qkformer_4_384_cifar", **SMALL, released_time_axis=released))
        for released in (False, True)
    ]
    corrected, released = (model.double().eval() for model in models)
    released.load_state_dict(corrected.state_dict())
    return corrected, released


@torch.no_grad()
def answers(model: nn.Module, x: Tensor) -> Tensor:
    return model(x)


def test_only_the_corrected_form_keeps_images_apart() -> None:
    corrected, released = twins()
    x = live_input(corrected, batch=3)
    alone = torch.cat([answers(corrected, image[None]) for image in x])
    torch.testing.assert_close(answers(corrected, x), alone, rtol=1e-9, atol=1e-9)
    together, turned = answers(released, x), answers(released, x.flip(0)).flip(0)
    assert (together - alone)[1:].abs().max() > 1e-2, "each starts where the one before ended"
    assert (together - turned).abs().max() > 1e-2, "the order of the images shows"


def test_one_image_is_the_same_to_both() -> None:
    corrected, released = twins()
    x = live_input(corrected, batch=1)
    assert torch.equal(answers(corrected, x), answers(released, x))


def test_the_released_form_streams_in_its_own_order() -> None:
    """Step by step the merged axis goes on where the last image of the step before left it."""
    _, released = twins()
    x, state = live_input(released, batch=2), None
    with torch.no_grad():
        for _ in range(released.time_steps):
            _, state = released.step(x, state)
    torch.testing.assert_close(state.logits, answers(released, x), rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_no_file_holds_the_released_form(tmp_path: Path) -> None:
    """Its time axis is as long as the batch is large; an ONNX file writes the steps out."""
    corrected, released = twins()
    x = live_input(corrected, batch=3).float()
    with pytest.raises(InputError, match="holds more than the time steps"):
        sd.export_onnx(released.float(), x, tmp_path / "released.onnx")
    assert not list(tmp_path.iterdir())
    assert sd.export_onnx(corrected.float(), x, tmp_path / "corrected.onnx").ok


def test_pictures_need_not_be_square() -> None:
    corrected, _ = twins()
    x = live_input(corrected)[..., :8]
    assert answers(corrected, x).shape == (2, 5)


def test_drop_path_drops_whole_branches() -> None:
    model = sd.create_model("qkformer_4_384_cifar", **SMALL, drop_path_rate=0.9)
    rates = [m.rate for m in model.modules() if isinstance(m, DropPath)]
    assert rates == pytest.approx([0.0, 0.3, 0.6, 0.9])
    enliven(model)
    x = live_input(model).float()
    torch.manual_seed(0)
    first, second = model.train()(x), model(x)
    assert not torch.equal(first, second)


def test_depths_and_releases_are_checked() -> None:
    depths = ({"depths": (1, 2)}, {"depths": (1, 2, -1)})
    for wrong in (*depths, {"release": "events"}, {"embed_dim": 30}):
        with pytest.raises(InputError):
            sd.create_model("qkformer_10_384", **wrong)
