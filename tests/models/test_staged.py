"""What Meta-SpikeFormer and E-SpikeFormer share: stages, neurons, two heads, initialisation,
layer groups.
"""

import pytest
import timm
import torch

import spikedriven as sd
from spikedriven.errors import InputError
from spikedriven.neurons import LIF, IntegerNeuron, Neuron, ParametricLIF
from spikedriven.training.optim import parameter_groups
from tests.golden import rule
from tests.networks import classifiers, enliven, shrunk

NAMES = ["meta_spikeformer_15m", "e_spikeformer_10m", "e_spikeformer_83m"]
STAGED = classifiers("meta_spikeformer*") + classifiers("e_spikeformer*")


def small(name, **keywords):
    return sd.create_model(name, **{**shrunk(name, 2), "num_classes": 5, **keywords})


def live(name, **keywords):
    return enliven(small(name, **keywords).double().eval())


def images(batch=2, size=32):
    return torch.randn(batch, 3, size, size, dtype=torch.float64)


def test_all_names():
    assert sd.list_models("meta_spikeformer*") == [
        "meta_spikeformer_15m",
        "meta_spikeformer_31m",
        "meta_spikeformer_55m",
        "meta_spikeformer_124m",
        "meta_spikeformer_hardvs_18m",
    ]
    assert sorted(sd.list_models("e_spikeformer*")) == [
        "e_spikeformer_10m",
        "e_spikeformer_171m",
        "e_spikeformer_19m",
        "e_spikeformer_3m",
        "e_spikeformer_5m",
        "e_spikeformer_83m",
        "e_spikeformer_fashion",
        "e_spikeformer_gesture_6m",
        "e_spikeformer_hardvs_19m",
    ]


#: Measured on the releases: (keywords, parameters).
PARAMETERS = {
    "meta_spikeformer_31m": ({}, 31_333_864),
    "meta_spikeformer_55m": ({"distilled": True}, 55_991_248),
    "meta_spikeformer_124m": ({}, 123_741_160),
    "e_spikeformer_10m": ({}, 10_023_112),
    "e_spikeformer_83m": ({"distilled": True}, 83_015_952),
    "e_spikeformer_171m": ({}, 170_971_714),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_of_variants_without_a_golden_file_for_these_keywords(name):
    keywords, expected = PARAMETERS[name]
    with torch.device("meta"):
        assert sum(p.numel() for p in sd.create_model(name, **keywords).parameters()) == expected


@pytest.mark.parametrize("name", NAMES)
def test_two_heads_in_training_and_their_mean_in_evaluation(name):
    model, x = live(name, distilled=True), images()
    pair = model.train()(x)
    assert isinstance(pair, tuple)
    assert [tuple(logits.shape) for logits in pair] == [(2, 5), (2, 5)]
    assert not torch.allclose(*pair)
    sum(logits.sum() for logits in pair).backward()
    assert model.head.weight.grad.abs().sum() > 0
    assert model.head_kd.weight.grad.abs().sum() > 0
    heads = []
    for head in (model.head, model.head_kd):
        head.register_forward_hook(lambda _m, _i, out: heads.append(out.mean(0)))
    model.eval()
    torch.testing.assert_close(model(x), (heads[0] + heads[1]) / 2, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_distilled_model_streams_and_gives_logits_per_step(name):
    model, x = live(name, distilled=True, time_steps=2, output="per_step"), images()
    steps = model(x)
    assert steps.shape == (2, 2, 5)
    first, state = model.step(x)
    second, _ = model.step(x, state)
    torch.testing.assert_close(torch.stack([first, second]), steps, rtol=1e-9, atol=1e-9)
    assert model.train().step(x)[0].shape == (2, 5)
    assert [tuple(logits.shape) for logits in model(x)] == [(2, 2, 5), (2, 2, 5)]


@pytest.mark.parametrize("name", NAMES)
def test_the_classifier_reads_spikes_or_the_mean(name):
    x = images()
    spikes = live(name, head_input="spikes")
    features = spikes.forward_head(spikes.forward_features(x), pre_logits=True)
    assert torch.equal(features, features.round())
    mean = live(name, head_input="mean")
    pooled = mean.forward_features(x).mean(dim=(0, -2, -1))
    torch.testing.assert_close(mean(x), mean.head(pooled), rtol=1e-12, atol=1e-12)
    released = "mean" if name == "e_spikeformer_83m" else "spikes"
    assert small(name).head_input == released


@pytest.mark.parametrize("name", NAMES)
def test_new_classifiers_for_both_heads(name):
    model = small(name, distilled=True)
    model.reset_classifier(7)
    assert [head.out_features for head in model.get_classifier()] == [7, 7]
    assert model.eval()(torch.randn(1, 3, 32, 32)).shape == (1, 7)
    model.reset_classifier(0)
    assert model(torch.randn(1, 3, 32, 32)).shape == (1, model.num_features)
    single = small(name)
    assert not hasattr(single, "head_kd")
    assert single.get_classifier() is single.head


def test_heads_start_as_in_the_releases():
    wide = {"num_classes": 4000, "distilled": True}
    for name in ("meta_spikeformer_15m", "e_spikeformer_10m"):
        for head in small(name, **wide).get_classifier():
            assert head.weight.std().item() == pytest.approx(0.02, rel=0.05)
            assert head.bias.abs().max() == 0
    head = small("e_spikeformer_83m", **wide).head
    assert head.weight.abs().max().item() == pytest.approx(
        (6 / sum(head.weight.shape)) ** 0.5, rel=0.01
    )
    assert head.bias.abs().max() == 0
    assert (
        small("e_spikeformer_hardvs_19m").head.bias.abs().max() > 0
    )  # that release leaves PyTorch's default


@pytest.mark.parametrize("name", STAGED)
def test_feature_maps_are_the_real_valued_sums_at_their_true_strides(name):
    model = live(name)
    steps = (2,) if model.input_layout == "events" else ()
    x = torch.randn(1, *steps, model.in_chans, 64, 64, dtype=torch.float64)
    reductions = [info["reduction"] for info in model.feature_info]
    strides = [1, 2, 4, 4, 4] if name == "e_spikeformer_fashion" else [2, 4, 8, 16, 16]
    assert reductions == strides[: len(reductions)]
    for info, feature_map in zip(
        model.feature_info, model.forward_intermediates(x)[1], strict=True
    ):
        side = 64 // info["reduction"]
        assert feature_map.shape == (1, info["num_chs"], side, side)
        assert (feature_map < 0).any()  # membranes, not spikes
        assert not torch.equal(feature_map, feature_map.round())


def test_small_grey_images_keep_a_sensible_map():
    keywords = {
        "in_chans": 1,
        "img_size": 28,
        "embed_dims": (16, 32, 64, 96),
        "strides": (1, 2, 2, 1, 1),
    }
    model = small("e_spikeformer_10m", depths=(1, 1, 0, 2, 1), **keywords)
    assert [info["reduction"] for info in model.feature_info] == [1, 2, 4, 4, 4]
    assert model.forward_features(model.example_input()).shape == (1, 1, 96, 7, 7)
    model(model.example_input(2)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    backbone = timm.create_model(
        "e_spikeformer_10m", features_only=True, out_indices=(1, 4), **keywords
    )
    assert [tuple(m.shape[1:]) for m in backbone(torch.randn(1, 1, 28, 28))] == [
        (16, 14, 14),
        (96, 7, 7),
    ]


@pytest.mark.parametrize("name", STAGED)
def test_neurons_follow_the_conventions_of_their_release(name):
    model = small(name)
    neurons = {key: m for key, m in model.named_modules() if isinstance(m, Neuron)}
    if name.startswith("meta"):
        behind_attention = [key for key in neurons if key.endswith("attn.branch.out.neuron")]
        assert behind_attention
        thresholds = {key: 0.5 if key in behind_attention else 1.0 for key in neurons}
        assert {key: m.options.v_threshold for key, m in neurons.items()} == thresholds
        return
    large = name in ("e_spikeformer_83m", "e_spikeformer_171m")
    levels = 8 if name == "e_spikeformer_fashion" else 4
    norm = {"e_spikeformer_hardvs_19m": 1.0, "e_spikeformer_gesture_6m": 8.0}.get(
        name, float(levels)
    )
    for key, neuron in neurons.items():
        found = (neuron.levels, neuron.rounding, neuron.gradient, neuron.norm)
        conventions = ("half_up", "strict") if large else ("half_even", "inclusive")
        assert found == (levels, *conventions, 1.0 if key == "head_neuron" else norm), key


def test_levels_norm_and_kind_reach_every_neuron():
    for name in ("e_spikeformer_10m", "e_spikeformer_83m"):
        neurons = [m for m in small(name, levels=8).modules() if isinstance(m, IntegerNeuron)]
        assert {(m.levels, m.norm) for m in neurons} == {(8, 8.0), (8, 1.0)}
        for kind, cls in (("lif", LIF), ("plif", ParametricLIF)):
            model = live(name, neuron=kind, tau=1.5, time_steps=4)
            neurons = [m for m in model.modules() if isinstance(m, Neuron)]
            assert {type(m) for m in neurons} == {cls}
            assert {m.options.v_threshold for m in neurons} == {0.5, 1.0}
            assert {m.options.tau for m in neurons} == {1.5}
            steps = model.forward_intermediates(
                images(1), [0], intermediates_only=True, merge_time=False
            )[0]
            assert not torch.allclose(steps[0], steps[1])  # membranes couple the steps
    model = live("e_spikeformer_10m", time_steps=3, output="per_step")
    steps = model(images())
    torch.testing.assert_close(steps[0], steps[2], rtol=1e-12, atol=1e-12)  # integer neurons do not


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"depths": (1, 1, 1)}, "which need . depths and . strides"),
        ({"strides": (2, 2, 2, 2, 0)}, "strides at least 1"),
        ({"embed_dims": (1, 16, 32, 40)}, "embed_dims must be at least 2"),
        ({"num_heads": 7}, "num_heads 7 must divide"),
        ({"neuron": "izhikevich"}, "is not known"),
        ({"head_input": "max"}, "head_input must be one of"),
        ({"drop_path_rate": 1.0}, "drop path rate"),
        ({"in_chans": 0}, "in_chans must be a whole number"),
    ],
)
@pytest.mark.parametrize("name", NAMES[:2])
def test_wrong_values_are_refused(name, keywords, message):
    with pytest.raises(InputError, match=message):
        small(name, **keywords)


def test_drop_path_rises_over_attention_blocks_and_spares_conv_stages():
    model = small("meta_spikeformer_15m", depths=(1, 1, 2, 3, 2), drop_path_rate=0.4)
    rates = [[b.attn.drop_path.rate for b in stage.blocks] for stage in model.stages[3:]]
    assert rates == [pytest.approx([0.0, 0.1, 0.2]), pytest.approx([0.3, 0.4])]
    assert {b.mlp.drop_path.rate for stage in model.stages[:3] for b in stage.blocks} == {0.0}
    large = small("e_spikeformer_83m", drop_path_rate=0.4, drop_path_per="batch")
    assert large.stages[3].blocks[1].mlp.drop_path.per == "batch"
    default = [
        m.rate
        for m in sd.create_model("e_spikeformer_83m", **shrunk("e_spikeformer_83m", 2)).modules()
        if hasattr(m, "per")
    ]
    assert set(default) == {0.0}


def test_layer_decay_groups_are_those_of_the_release():
    with torch.device("meta"):
        model = sd.create_model("e_spikeformer_83m")
    groups = parameter_groups(model, 0.05, layer_decay=0.75)
    found = [
        (g["lr_scale"], g["weight_decay"], len(g["params"]), sum(p.numel() for p in g["params"]))
        for g in groups
    ]
    expected = rule.load("sdtv3_units.json")["large_layer_decay_0.75"]["groups"]
    assert sorted(found) == [pytest.approx(row) for row in sorted(tuple(row) for row in expected)]


def test_a_second_attention_stage_continues_the_layers():
    groups = parameter_groups(small("meta_spikeformer_15m"), 0.0, layer_decay=0.5)
    assert sorted({g["lr_scale"] for g in groups}) == [0.5**k for k in (5, 4, 3, 2, 1, 0)]


def test_parameter_groups_of_v2_are_those_of_the_release():
    with torch.device("meta"):
        groups = parameter_groups(sd.create_model("meta_spikeformer_31m"), 0.05)
    found = sorted(
        (g["weight_decay"], len(g["params"]), sum(p.numel() for p in g["params"])) for g in groups
    )
    expected = rule.load("sdtv3_units.json")["v2_param_groups"]
    assert found == sorted(tuple(row[1:]) for row in expected)


@pytest.mark.parametrize("name", NAMES)
def test_compile_takes_the_whole_model(name):
    model, x = live(name, depths=(1, 0, 0, 1, 0)[: 4 if name.endswith("83m") else 5]), images(1)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-9, atol=1e-9)


def test_attention_scale_is_a_keyword():
    for name, released in (
        ("meta_spikeformer_15m", 0.125),
        ("e_spikeformer_10m", 1.0),
        ("e_spikeformer_83m", 0.125),
    ):
        keywords = {"embed_dims": (8, 16, 32, 32)[: 3 if name.endswith("83m") else 4]}
        attention = small(name, **keywords).stages[3].blocks[0].attn.branch
        assert attention.scale.factor == released  # 2 / sqrt(4) where d is 4
        assert (
            small(name, attention_scale=0.3, **keywords)
            .stages[3]
            .blocks[0]
            .attn.branch.scale.factor
            == 0.3
        )
