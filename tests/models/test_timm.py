"""timm's contract: keywords, trained weights with another head or first layer, files, and the
calls of its scripts.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from timm.data import resolve_data_config
from torch import nn

import spikedriven as sd
from spikedriven.errors import InputError
from spikedriven.models.pretrained import for_channels
from tests.networks import enliven

NAME = "e_spikeformer_fashion"
SMALL = {"embed_dim": 32, "depth": 1, "num_heads": 4, "time_steps": 2}
THIN = {"embed_dims": (8, 16, 16, 16), "depths": (1, 1, 1, 1, 1), "num_heads": 2, "mlp_ratio": 1}
ONE_OF_EACH = {
    "sdt_2_256_cifar": SMALL,
    "spikingformer_2_384_cifar": SMALL,
    "spikformer_4_384_cifar": SMALL,
    "qkformer_4_384_cifar": {"embed_dim": 32, "depths": (1, 1, 1), "num_heads": 4},
    "meta_spikeformer_15m": {**THIN, "distilled": True},
    "e_spikeformer_3m": THIN,
    "e_spikeformer_83m": {
        "embed_dims": (8, 16, 16),
        "depths": (1, 1, 1, 1),
        "num_heads": 2,
        "distilled": True,
    },
}


@pytest.fixture(scope="module")
def trained():
    return sd.create_model(NAME, pretrained=True).eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def test_names_with_weights_are_listed():
    assert timm.list_pretrained("*spikeformer*") == [NAME]
    assert (
        timm.get_pretrained_cfg(NAME).has_weights
        and not timm.get_pretrained_cfg("sdt_8_512").has_weights
    )


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_dropout_before_the_classifier_in_training_alone(name):
    model = enliven(
        timm.create_model(name, num_classes=3, img_size=32, drop_rate=0.5, **ONE_OF_EACH[name])
    )
    read = []
    heads = model.get_classifier()
    for head in heads if isinstance(heads, tuple) else (heads,):
        head.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    x = torch.rand(64, 3, 32, 32)
    model.eval()(x)
    kept, read[:] = [value.count_nonzero() for value in read], []
    model.train()
    model.apply(lambda m: m.eval() if isinstance(m, nn.BatchNorm2d) else None)
    model(x)
    assert all(
        0.3 < float(now.count_nonzero() / before) < 0.7
        for now, before in zip(read, kept, strict=True)
    )


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_pooling(name):
    keywords = {"img_size": 32, **ONE_OF_EACH[name]}
    x = torch.rand(2, 3, 32, 32)
    model = timm.create_model(name, num_classes=0, global_pool="", **keywords).eval()
    assert torch.equal(model(x), model.forward_features(x).mean(0))
    model.reset_classifier(7, "fast")
    assert model(x).shape == (2, 7)
    for wrong in ({"global_pool": "max"}, {"global_pool": ""}, {"drop_rate": 1.0}):
        with pytest.raises(InputError, match=r"global_pool|drop_rate"):
            timm.create_model(name, **wrong, **keywords)


def test_another_classifier_over_the_trained_body(trained, images):
    model = timm.create_model(NAME, pretrained=True, num_classes=5).eval()
    assert model(images).shape == (2, 5) and not getattr(model, "class_names", ())
    assert torch.equal(model.forward_features(images), trained.forward_features(images))


def test_other_channels_over_the_trained_body(trained, images):
    model = timm.create_model(NAME, pretrained=True, in_chans=4).eval().double()
    same = images.double().expand(2, 4, 28, 28)
    torch.testing.assert_close(
        model(same), trained.double()(images.double()), rtol=1e-12, atol=1e-12
    )
    trained.float()


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_channels_are_exchanged_as_timm_does(channels):
    weight = torch.rand(8, 3, 3, 3)
    torch.testing.assert_close(
        for_channels(weight, channels), timm.models.adapt_input_conv(channels, weight.clone())
    )


@pytest.mark.parametrize("safe", [True, False])
def test_a_folder_of_timm_loads_again(trained, images, tmp_path: Path, safe: bool):
    arguments = {"in_chans": 1}  # timm before 1.0.30 records none itself
    timm.models.save_for_hf(trained, tmp_path, safe_serialization=safe, model_args=arguments)
    again = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    assert torch.equal(again(images), trained(images)) and again.class_names == trained.class_names
    assert timm.create_model(f"local-dir:{tmp_path}", pretrained=True, num_classes=3).eval()(
        images
    ).shape == (2, 3)
    with pytest.raises(InputError, match="are for its own widths"):
        timm.create_model(f"local-dir:{tmp_path}", pretrained=True, embed_dims=(32, 64, 128, 128))


def test_an_overlay_names_the_weights(trained, images, tmp_path: Path):
    torch.save(trained.state_dict(), tmp_path / "w.pth")
    overlay = {"file": str(tmp_path / "w.pth"), "crop_pct": 0.5}
    model = timm.create_model(NAME, pretrained=True, pretrained_cfg_overlay=overlay).eval()
    assert (
        torch.equal(model(images), trained(images))
        and resolve_data_config(model=model)["crop_pct"] == 0.5
    )


def test_the_configuration_has_the_pool_size():
    model = timm.create_model("meta_spikeformer_15m", **THIN)
    assert model.default_cfg["pool_size"] == (14, 14)


@pytest.mark.parametrize("decoder", [smp.DeepLabV3, smp.DeepLabV3Plus, smp.PAN])
def test_decoders_of_output_stride_16(decoder):
    encoder = {"encoder_depth": 4, "encoder_output_stride": 16, "encoder_weights": None}
    model = decoder("tu-meta_spikeformer_15m", classes=5, **encoder, **THIN).eval()
    assert model(torch.rand(2, 3, 128, 128)).shape == (2, 5, 128, 128)


def test_other_output_strides_are_refused():
    with pytest.raises(InputError, match="no output_stride 8: its last map has stride 16"):
        timm.create_model("meta_spikeformer_15m", features_only=True, output_stride=8, **THIN)


#: What train.py, validate.py and benchmark.py of timm hand to `timm.create_model`, beside the name.
CALLS = {
    "train": {
        "pretrained": False,
        "in_chans": 3,
        "num_classes": 2,
        "drop_rate": 0.1,
        "drop_path_rate": None,
        "drop_block_rate": None,
        "global_pool": None,
        "bn_momentum": None,
        "bn_eps": None,
        "scriptable": False,
        "checkpoint_path": "",
    },
    "validate": {
        "pretrained": False,
        "num_classes": 2,
        "in_chans": 3,
        "global_pool": None,
        "scriptable": False,
    },
    "benchmark": {
        "num_classes": None,
        "in_chans": 3,
        "global_pool": "fast",
        "scriptable": False,
        "drop_rate": 0.0,
        "drop_path_rate": None,
        "drop_block_rate": None,
    },
    "onnx_export": {
        "num_classes": None,
        "in_chans": 3,
        "pretrained": False,
        "checkpoint_path": "",
        "exportable": True,
    },
}


@pytest.mark.parametrize("script", CALLS)
def test_the_calls_of_timms_scripts(script: str):
    model = timm.create_model("sdt_2_256_cifar", **CALLS[script], **SMALL).eval()
    assert resolve_data_config({}, model=model)["input_size"] == (3, 32, 32)
    assert model(torch.rand(1, 3, 32, 32)).shape == (1, model.num_classes)


def test_pytorchs_exporter_writes_a_network(tmp_path: Path):
    import onnxruntime

    model = enliven(timm.create_model("sdt_2_256_cifar", exportable=True, **SMALL)).eval()
    x = torch.rand(2, 3, 32, 32)
    torch.onnx.export(model, (x,), tmp_path / "a.onnx", dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    found = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])
    assert torch.equal(found.argmax(1), model(x).argmax(1))


SCRIPTS = os.environ.get("SPIKEDRIVEN_TIMM_SCRIPTS")


@pytest.mark.slow
@pytest.mark.skipif(SCRIPTS is None, reason="SPIKEDRIVEN_TIMM_SCRIPTS names no checkout of timm")
@pytest.mark.parametrize("script", CALLS)
def test_timms_scripts(script: str, tmp_path: Path):
    assert SCRIPTS is not None
    _picture_folder(tmp_path / "set")
    small = ["--model-kwargs", *(f"{key}={value}" for key, value in SMALL.items())]
    name = ["--model", "sdt_2_256_cifar"]
    keywords = {} if script == "onnx_export" else {"num_classes": 2, **SMALL}
    torch.save(sd.create_model("sdt_2_256_cifar", **keywords).state_dict(), tmp_path / "w.pth")
    data = [
        str(tmp_path / "set"),
        *name,
        "--num-classes",
        "2",
        "--device",
        "cpu",
        "-b",
        "4",
        "-j",
        "0",
        *small,
    ]
    words = {
        "train": [*data, "--epochs", "1", "--drop", "0.1", "--output", str(tmp_path / "out")],
        "validate": [*data, "--checkpoint", str(tmp_path / "w.pth")],
        "benchmark": [
            *name,
            "--device",
            "cpu",
            "-b",
            "2",
            "--num-warm-iter",
            "1",
            "--num-bench-iter",
            "10",
            "--bench",
            "both",
            "--no-retry",
            *small,
        ],
        "onnx_export": [
            *name,
            "--checkpoint",
            str(tmp_path / "w.pth"),
            "--check-forward",
            "--dynamo",
            str(tmp_path / "a.onnx"),
        ],
    }[script]
    file = Path(SCRIPTS) / f"{script}.py"
    run = f"import runpy, spikedriven; runpy.run_path({str(file)!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", run, *words], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-2000:]


def _picture_folder(folder: Path) -> None:
    from PIL import Image

    for part in ("train", "validation"):
        for label in "ab":
            (folder / part / label).mkdir(parents=True)
            for i in range(8):
                Image.new("RGB", (32, 32), (30 * i, 5, 5)).save(folder / part / label / f"{i}.png")
