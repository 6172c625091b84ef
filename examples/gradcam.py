"""Grad-CAM of a spiking network: maps have an axis of time, which libraries do not expect.

    python examples/gradcam.py --out gradcam.png

Grad-CAM (Selvaraju et al., ICCV 2017) weighs the channels of a feature map by the mean gradient of
a class, and adds them up. The maps of our networks are [T, B, C, H, W]. `over_time` gives the mean
over T, and that is all that a library needs. With pytorch-grad-cam:

    from pytorch_grad_cam import GradCAM
    cam = GradCAM(model, [target_layer(model)], reshape_transform=over_time)(images)

It hands activations and gradients through ``reshape_transform``. `grad_cam` below does the same by
hand.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

import spikedriven as sd
from spikedriven import figures
from spikedriven.data import DataConfig, build_eval_loader
from spikedriven.report.images import overlay

NAME = "e_spikeformer_fashion"


def over_time(maps: Tensor) -> Tensor:
    """[T, B, C, H, W] -> the mean over T, [B, C, H, W]."""
    return maps.mean(0)


def target_layer(model: nn.Module) -> nn.Module:
    """The part of the body whose output the classifier reads."""
    return model.body()[-1][1]


def grad_cam(model: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """images [B, C, H, W], classes [B] -> maps [B, h, w], at least 0."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    hook = target_layer(model).register_forward_hook(keep)
    logits = model(images)
    hook.remove()
    logits.gather(1, classes[:, None]).sum().backward()
    activation = kept[0].detach()
    weights = over_time(kept[0].grad).mean((2, 3), keepdim=True)
    return (weights * over_time(activation)).sum(1).relu()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("gradcam.png"))
    parser.add_argument("--images", type=int, default=6)
    arguments = parser.parse_args()
    model = sd.create_model(NAME, pretrained=True).eval()
    data = DataConfig(dataset="fashion-mini", img_size=28, in_chans=1, crop_pct=1.0, workers=0)
    images, labels = next(iter(build_eval_loader(data, "test", batch_size=arguments.images)))
    maps = grad_cam(model, images, labels)
    rows = []
    for image, label, found in zip(images, labels, maps, strict=True):
        grey = (
            (255 * (image[0] * 0.353 + 0.286).clamp(0, 1))
            .byte()
            .repeat_interleave(6, 0)
            .repeat_interleave(6, 1)
        )
        picture = grey[..., None].expand(-1, -1, 3).numpy()
        rows.append(
            (model.class_names[label], [picture, overlay(picture, found, float(found.max()))])
        )
    figures.grid(rows, ["image", "Grad-CAM of its class"]).savefig(arguments.out)
    print(f"written: {arguments.out}")


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
