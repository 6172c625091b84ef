"""Semantic FPN: sizes, modes, time, names, starting weights."""

import pytest
import safetensors.torch
import torch
from torch import nn

import spikedriven as sd
from spikedriven.errors import CheckpointError, InputError
from spikedriven.models import load_official, official_state_dict
from spikedriven.models.segmentation import create_segmenter
from spikedriven.models.segmentation.build import chain_lengths
from spikedriven.models.segmentation.semantic_fpn import Upsample, resize
from spikedriven.neurons import IntegerNeuron, Neuron
from spikedriven.runs.start import start_from
from tests.networks import enliven

THIN = {
    "embed_dims": (8, 16, 16, 16),
    "depths": (1, 1, 1, 1, 1),
    "num_heads": 2,
    "mlp_ratio": 1,
    "img_size": 64,
}
BACKBONES = {
    "e_spikeformer_3m": THIN,
    "meta_spikeformer_15m": {**THIN, "time_steps": 2},
    "e_spikeformer_83m": {
        "embed_dims": (8, 16, 16),
        "depths": (1, 1, 1, 1),
        "num_heads": 2,
        "img_size": 64,
    },
    "sdt_8_512": {"embed_dim": 32, "depth": 1, "num_heads": 2, "time_steps": 2, "img_size": 64},
    "spikingformer_8_512": {
        "embed_dim": 32,
        "depth": 1,
        "num_heads": 2,
        "time_steps": 2,
        "img_size": 64,
    },
}


def thin(backbone="e_spikeformer_3m", **keywords):
    width = {"width": 16} if keywords.get("name") != "fcn" else {}
    common = {"num_classes": 5, **width, "backbone_args": BACKBONES[backbone]}
    return create_segmenter(backbone=backbone, **common | keywords)


def live(*args, **keywords):
    return enliven(thin(*args, **keywords).double()).eval()


def images(height=64, width=64, batch=2):
    return torch.randn(
        batch, 3, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )


@pytest.mark.parametrize(
    ("name", "millions"), [("e_spikeformer_10m", 11.49), ("e_spikeformer_19m", 20.35)]
)
def test_parameters_of_the_released_form(name, millions):
    """Backbone 9.787 M or 18.633 M with layer scales, neck 0.65 to 0.67 M, head 1.05 M."""
    with torch.device("meta"):
        model = create_segmenter(backbone=name, mode="released")
    count = lambda module: sum(p.numel() for p in module.parameters())  # noqa: E731
    assert round(count(model) / 1e6, 2) == millions
    assert round(count(model.head) / 1e6, 2) == 1.05
    assert (
        round(count(model.backbone) / 1e6, 3)
        == {"e_spikeformer_10m": 9.787, "e_spikeformer_19m": 18.633}[name]
    )
    assert model.indices == [0, 1, 2, 4] and model.stride == 2
    assert [info["reduction"] for info in model.backbone.feature_info] == [2, 4, 8, 16, 16]


def test_the_corrected_form_has_no_layer_scale_and_no_bias_before_norms():
    with torch.device("meta"):
        released, corrected = (create_segmenter(mode=mode) for mode in ("released", "corrected"))
    missing = released.state_dict().keys() - corrected.state_dict().keys()
    assert {key.rsplit(".", 1)[1] for key in missing} == {"scale", "bias"}
    assert sum(key.endswith("scale") for key in missing) == 24 and len(missing) == 24 + 8
    assert {m.mode for m in released.modules() if isinstance(m, Upsample)} == {"bilinear"}
    assert {m.mode for m in corrected.modules() if isinstance(m, Upsample)} == {"nearest"}
    scaled = create_segmenter(
        mode="corrected", backbone_args={**THIN, "layer_scale": 0.1}, num_classes=2, width=8
    )
    assert any(key.endswith("scale") for key in scaled.state_dict()), "an option of either mode"


@pytest.mark.parametrize("name", BACKBONES)
def test_any_backbone_and_any_image_size(name):
    model = live(name)
    strides = [model.backbone.feature_info[i]["reduction"] for i in model.indices]
    assert strides == sorted(set(strides)) and len(strides) == 4
    for height, width in ((64, 64), (48, 80), (50, 37)):
        x = images(height, width)
        assert model(x).shape == (2, 5, height, width)
        dense = model.dense_logits(x)
        assert dense.shape == (2, 5, -(-height // model.stride), -(-width // model.stride))
        assert torch.equal(model(x), resize(dense, (height, width)))
    assert dense.std() > 0


def test_every_weight_layer_of_neck_and_head_reads_a_neuron():
    model = live()
    inputs = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and not name.startswith("backbone"):
            module.register_forward_pre_hook(
                lambda _m, args, name=name: inputs.__setitem__(name, args[0])
            )
    model(images())
    assert len(inputs) == 4 + 4 + 7 + 1
    for name, value in inputs.items():
        assert (
            torch.equal((4 * value).round(), 4 * value) and value.min() >= 0 and value.max() <= 1
        ), name


def test_neighbours_in_the_batch_change_nothing():
    model, x = live("sdt_8_512"), images(batch=3)
    assert torch.allclose(model(x)[:1], model(x[:1]), rtol=0, atol=1e-12)


def test_time_is_merged_at_the_taps_or_at_the_logits():
    merged, kept = (
        thin("meta_spikeformer_15m", keep_time=k, neuron="lif").eval() for k in (False, True)
    )
    kept.load_state_dict(merged.state_dict())
    seen = {}
    for label, model in (("merged", merged), ("kept", kept)):
        enliven(model)
        model.head.register_forward_pre_hook(
            lambda _m, args, label=label: seen.__setitem__(label, len(args[0][0]))
        )
    outputs = [model(images().float()) for model in (merged, kept)]
    assert seen == {"merged": 1, "kept": 2} and not torch.allclose(*outputs)
    frames = torch.stack([images().float()] * 2, dim=1)
    assert torch.allclose(kept(frames), outputs[1]), "frames [B, T, C, H, W] are taken as they are"


def test_calls_start_at_rest():
    model, x = live("meta_spikeformer_15m", keep_time=True, neuron="lif"), images()
    assert torch.equal(model(x), model(x))


def test_released_chain_lengths_follow_from_declared_strides():
    assert chain_lengths((4, 8, 16, 32)) == chain_lengths((2, 4, 8, 16)) == [1, 1, 2, 3]
    assert chain_lengths((4, 8, 16, 16)) == [1, 1, 2, 2]
    nets = [thin(mode=mode, out_indices=(1, 2, 3, 4)) for mode in ("released", "corrected")]
    lengths = [
        [len([m for m in c if not isinstance(m, Upsample)]) for c in n.head.scale_heads]
        for n in nets
    ]
    assert lengths == [[1, 1, 2, 3], [1, 1, 2, 2]]


def test_neurons_of_neck_and_head():
    model = thin(levels=8)
    assert {
        m.levels
        for part in (model.neck, model.head)
        for m in part.modules()
        if isinstance(m, IntegerNeuron)
    } == {8}
    lif = thin(neuron="lif", tau=1.5)
    found = [m for part in (lif.neck, lif.head) for m in part.modules() if isinstance(m, Neuron)]
    assert {m.options.tau for m in found} == {1.5}


def test_wrong_options_are_named():
    for keywords, message in (
        ({"modes": "released"}, "did you mean mode"),
        ({"mode": "fixed"}, "mode must be one of"),
        ({"width": 0}, "width must be at least 1"),
        ({"upsampling": "cubic"}, "upsampling must be one of"),
        ({"out_indices": (2, 1)}, "out_indices must rise"),
        ({"out_indices": (0, 7)}, r"0\.\.4"),
        ({"neuron": "relu"}, "neuron 'relu' is not known"),
        ({"mode": "released", "out_indices": (1, 2)}, "the released form has 4 taps"),
    ):
        with pytest.raises(InputError, match=message):
            thin(**keywords)
    for keywords, message in (
        ({"convs": -1}, "convs must be at least 0"),
        ({"width": 20}, "width=20: without convolutions"),
        ({"convs": 1, "width": 0}, "width must be at least 1"),
        ({"out_indices": (3, 4)}, "reads one map"),
        ({"upsampling": "nearest"}, "fcn has no keyword 'upsampling'"),
    ):
        with pytest.raises(InputError, match=message):
            thin(name="fcn", **keywords)
    with pytest.raises(InputError, match="no segmenter is called"):
        create_segmenter("upernet")
    with pytest.raises(InputError, match="no feature maps"):
        create_segmenter(backbone="spike_mae_12_512")


NAMES = {
    "integer": (
        {"mode": "released"},
        {
            "backbone.downsample1_1.encode_conv.weight",
            "backbone.block3.0.layer_scale2",
            "neck.lateral_convs.0.0.bias",
            "neck.fpn_convs.3.1.running_mean",
            "decode_head.scale_heads.0.0.1.weight",
            "decode_head.scale_heads.3.4.2.running_var",
            "decode_head.conv_seg.weight",
        },
    ),
    "lif": (
        {
            "mode": "released",
            "backbone": "meta_spikeformer_15m",
            "neuron": "lif",
            "keep_time": True,
        },
        {
            "backbone.block3.0.attn.q_conv.1.weight",
            "neck.lateral_convs.1.1.0.conv.bias",
            "neck.fpn_convs.0.1.0.conv.weight",
            "decode_head.scale_heads.0.0.1.0.conv.weight",
            "decode_head.scale_heads.3.2.1.0.bn.running_mean",
            "decode_head.conv_seg.bias",
        },
    ),
    "fcn": (
        {"name": "fcn", "convs": 1},
        {
            "decode_head.convs.0.conv.weight",
            "decode_head.convs.0.bn.bias",
            "decode_head.conv_seg.weight",
        },
    ),
}


@pytest.mark.parametrize("form", NAMES)
def test_authors_names_and_back(form):
    keywords, examples = NAMES[form]
    model = live(**keywords)
    theirs = official_state_dict(model)
    assert len(theirs) == len(model.state_dict()) and examples <= theirs.keys()
    assert not [key for key in theirs if "project" in key]
    other = thin(**keywords).double()
    report = load_official(other, theirs)
    assert report.spelling == "authors" and not report.missing
    assert torch.equal(other.eval()(images()), model(images()))


def test_the_released_pyramid_of_lif_neurons_has_no_norm():
    """FPN_SNN is built without a norm in the release; QFPN has one."""
    lif, integer = (thin(mode="released", neuron=neuron) for neuron in ("lif", "integer"))
    norms = [
        sum(isinstance(m, nn.BatchNorm2d) for m in model.neck.modules()) for model in (lif, integer)
    ]
    assert norms == [0, 8]
    assert sum(isinstance(m, nn.BatchNorm2d) for m in thin(neuron="lif").neck.modules()) == 8


def test_fcn_reads_the_last_map():
    model = live(name="fcn")
    assert model.indices == [4] and model.stride == 16
    last = model.backbone.forward_intermediates(
        images(), [4], intermediates_only=True, merge_time=True
    )[0]
    fired = (last.clamp(0, 4)).round() / 4
    conv = model.head.classify.project
    expected = (
        torch.einsum("bchw,kc->bkhw", fired, conv.weight[:, :, 0, 0]) + conv.bias[:, None, None]
    )
    assert torch.allclose(model.dense_logits(images()), expected) and expected.std() > 0
    assert model(images()).shape == (2, 5, 64, 64)
    deeper = thin(name="fcn", convs=2, width=12)
    assert [m.project.conv.out_channels for m in deeper.head.convs] == [12, 12]
    assert deeper.head.classify.project.in_channels == 12


def test_the_published_fcn():
    """fcn_SDT_512x512_512_ade20k: a 15M body at T 4, 360 channels, no convolution but the
    classifier.
    """
    with torch.device("meta"):
        model = create_segmenter("fcn.meta_spikeformer_15m_ade20k_t4")
    assert (model.time_steps, model.num_classes, model.keep_time) == (4, 150, True)
    assert sum(p.numel() for p in model.head.parameters()) == 361 * 150
    assert sum(p.numel() for p in model.neck.parameters()) == 0


def test_a_classifier_starts_the_backbone(tmp_path):
    classifier = enliven(sd.create_model("e_spikeformer_3m", num_classes=7, **THIN).double())
    path = tmp_path / "classifier.safetensors"
    safetensors.torch.save_file(
        {k: v.contiguous() for k, v in classifier.state_dict().items()}, path
    )
    model = thin().double()
    with pytest.raises(CheckpointError, match=r"--model\.init-strict false"):
        start_from(model, str(path))
    report = start_from(model, str(path), strict=False)
    assert set(report.unexpected) == {"head.weight", "head.bias"} and not report.missing
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, classifier.state_dict()[key])
