"""Plain decoders of segmentation-models-pytorch on our backbones, through timm (`tu-NAME`)."""

import pytest
import segmentation_models_pytorch as smp
import torch

import spikedriven as sd
from spikedriven.tasks.segmentation import pixel_loss

THIN = {"embed_dims": (8, 16, 16, 16), "depths": (1, 1, 1, 1, 1), "num_heads": 2, "mlp_ratio": 1}
SDT = {"embed_dim": 32, "num_heads": 2}  # not depth: smp has a keyword of that name
DECODERS = {
    "fpn": lambda name, **kw: smp.FPN(f"tu-{name}", encoder_depth=4, upsampling=2, **kw),
    "unet": lambda name, **kw: smp.Unet(
        f"tu-{name}", encoder_depth=4, decoder_channels=(32, 16, 16, 8), **kw
    ),
    "upernet": lambda name, **kw: smp.UPerNet(f"tu-{name}", encoder_depth=4, **kw),
}


def built(decoder, name, **keywords):
    return DECODERS[decoder](name, encoder_weights=None, classes=5, **keywords)


@pytest.mark.parametrize("decoder", DECODERS)
def test_decoders(decoder):
    model = built(decoder, "e_spikeformer_3m", **THIN)
    x, labels = torch.randn(2, 3, 64, 64), torch.randint(0, 5, (2, 64, 64))
    logits = model(x)
    assert logits.shape == (2, 5, 64, 64)
    pixel_loss(logits, labels).backward()
    missing = [name for name, p in model.encoder.named_parameters() if p.grad is None]
    assert not missing, "every weight of the backbone takes part"


@pytest.mark.parametrize(
    ("name", "keywords"),
    [
        ("meta_spikeformer_15m", THIN),
        ("sdt_8_384", SDT),
        ("spikingformer_8_384", SDT),
        ("e_spikeformer_10m", THIN),
    ],
)
def test_families(name, keywords):
    assert built("fpn", name, time_steps=2, **keywords).eval()(torch.randn(1, 3, 64, 64)).shape == (
        1,
        5,
        64,
        64,
    )


def test_the_encoder_hands_over_our_maps_with_time_merged():
    model = built("fpn", "meta_spikeformer_15m", time_steps=2, **THIN).eval()
    ours = sd.create_model("meta_spikeformer_15m", num_classes=0, time_steps=2, **THIN).eval()
    weights = {
        key.removeprefix("model.model."): value for key, value in model.encoder.state_dict().items()
    }
    report = ours.load_state_dict(weights, strict=False)
    assert (
        all(key.startswith(("stages.4", "head")) for key in report.missing_keys)
        and not report.unexpected_keys
    )
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found, expected = (
            model.encoder(x)[-4:],
            ours.forward_intermediates(x, [0, 1, 2, 3], intermediates_only=True),
        )
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
