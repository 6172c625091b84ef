"""The registry: names, keywords, timm, feature maps, options of the LIF families."""

import pytest
import timm
import torch

import spikedriven as sd
from spikedriven.errors import InputError
from spikedriven.neurons import Neuron
from tests.networks import enliven

SMALL = {"embed_dim": 32, "depth": 1, "num_heads": 4, "num_classes": 5, "img_size": 16}
NAMES = ["sdt_2_256_cifar", "spikingformer_4_256_cifar", "spikformer_4_384_cifar"]


def test_all_names_of_the_lif_families():
    assert sd.list_models("sdt*") == [
        "sdt_8_384",
        "sdt_6_512",
        "sdt_8_512",
        "sdt_10_512",
        "sdt_8_768",
        "sdt_2_256_cifar",
        "sdt_2_512_cifar",
        "sdt_2_256_gesture",
        "sdt_2_256_cifar10dvs",
    ]
    assert sd.list_models("spikingformer*") == [
        "spikingformer_8_384",
        "spikingformer_8_512",
        "spikingformer_8_768",
        "spikingformer_4_256_cifar",
        "spikingformer_2_384_cifar",
        "spikingformer_4_384_cifar",
        "spikingformer_2_256_dvs",
    ]
    assert sd.list_models("spikformer*") == [
        "spikformer_8_384",
        "spikformer_8_512",
        "spikformer_8_768",
        "spikformer_4_384_cifar",
        "spikformer_2_256_dvs",
    ]
    assert sd.list_models("qkformer*") == [
        "qkformer_10_384",
        "qkformer_10_512",
        "qkformer_10_768",
        "qkformer_4_384_cifar",
    ]


def test_unknown_names_and_keywords_are_explained():
    with pytest.raises(InputError, match=r"no model is called 'sdt_8_521'; did you mean sdt_8_512"):
        sd.create_model("sdt_8_521")
    with pytest.raises(InputError, match=r"no keyword 'embed_dims'; did you mean embed_dim\?"):
        sd.create_model("sdt_8_512", embed_dims=3)
    with pytest.raises(InputError, match="no trained weights"):
        timm.create_model("sdt_8_512", pretrained=True)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"num_heads": 7}, "num_heads 7 must divide"),
        ({"embed_dim": 30}, "multiple of 8"),
        ({"stem_pools": "012"}, "four flags"),
        ({"stem_pools": 11}, "four flags"),
        ({"neuron": "izhikevich"}, "is not known"),
        ({"output": "sum"}, "output must be one of"),
        ({"time_steps": 0}, "time_steps must be a whole number"),
        ({"num_classes": -1}, "num_classes must be a whole number"),
        ({"drop_path_rate": 1.0}, "drop path rate"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_wrong_values_are_refused(name, keywords, message):
    with pytest.raises(InputError, match=message):
        sd.create_model(name, **{**SMALL, "depth": 2, **keywords})


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(3, 16, 16),
        torch.zeros(1, 1, 16, 16),
        torch.zeros(1, 3, 16, 16, dtype=torch.uint8),
        torch.zeros(1, 2, 2, 3, 16, 16),
    ],
)
def test_wrong_inputs_are_refused(x):
    with pytest.raises(InputError, match="expected a floating point image"):
        sd.create_model("sdt_2_256_cifar", **SMALL)(x)


@pytest.mark.parametrize("name", NAMES)
def test_static_images_equal_the_same_frame_at_every_step(name):
    model = enliven(sd.create_model(name, **SMALL, time_steps=3).double().eval())
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(
        model(x), model(x.unsqueeze(1).expand(2, 3, 3, 16, 16)), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("name", NAMES)
def test_per_step_output_averages_to_the_mean_output(name):
    model = enliven(sd.create_model(name, **SMALL, output="per_step").double().eval())
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    steps = model(x)
    assert steps.shape == (4, 2, 5)
    model.output = "mean"
    torch.testing.assert_close(model(x), steps.mean(0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_parametric_neurons_learn_and_are_spared_weight_decay(name):
    model = sd.create_model(name, **SMALL, neuron="plif")
    model(torch.randn(2, 3, 16, 16)).sum().backward()
    constants = {key for key, p in model.named_parameters() if key.endswith(".w")}
    called = sum(isinstance(m, Neuron) for m in model.modules())
    assert len(constants) == called
    assert model.no_weight_decay() == constants
    assert all(model.get_parameter(key).grad is not None for key in constants)


@pytest.mark.parametrize("name", NAMES)
def test_drop_path_really_drops_whole_samples_in_training_only(name):
    model = enliven(sd.create_model(name, **{**SMALL, "depth": 3}, drop_path_rate=0.9).double())
    x = torch.randn(1, 3, 16, 16, dtype=torch.float64).expand(8, -1, -1, -1)
    model.eval()
    out = model(x)
    torch.testing.assert_close(out[0], out[7], rtol=1e-12, atol=1e-12)
    branch = model.blocks[2].drop_path.train()
    kept = branch(torch.ones(2, 64, 3, 2, 2)).flatten(2)
    torch.testing.assert_close(kept.unique(), torch.tensor([0.0, 10.0]))
    assert torch.equal(kept[0], kept[1])  # all time steps of a sample together
    assert 0 < (kept[0, :, 0] > 0).sum() < 30


@pytest.mark.parametrize("name", NAMES)
def test_classifier_interface(name):
    model = sd.create_model(name, **SMALL)
    assert model.get_classifier().out_features == 5
    model.reset_classifier(7)
    assert model(torch.randn(1, 3, 16, 16)).shape == (1, 7)
    headless = sd.create_model(name, **{**SMALL, "num_classes": 0})
    assert headless(torch.randn(1, 3, 16, 16)).shape == (1, model.num_features)
    assert model.forward_head(
        model.forward_features(torch.randn(1, 3, 16, 16)), pre_logits=True
    ).shape == (1, 32)


@pytest.mark.parametrize("name", NAMES)
def test_features_only_prunes_what_lies_behind_the_last_map(name):
    backbone = timm.create_model(
        name, features_only=True, out_indices=(0, 2), embed_dim=32, depth=2, num_heads=4
    )
    assert [
        f.shape[1] for f in backbone(torch.randn(1, 3, 32, 32))
    ] == backbone.feature_info.channels()
    assert not [key for key in backbone.state_dict() if "blocks" in key or "head" in key]


def test_intermediates_keep_time_on_request_and_stop_early():
    model = sd.create_model("sdt_2_256_cifar", **SMALL).eval()
    maps = model.forward_intermediates(
        torch.randn(2, 3, 16, 16), indices=[1, -1], intermediates_only=True, merge_time=False
    )
    assert [tuple(m.shape) for m in maps] == [(4, 2, 8, 16, 16), (4, 2, 32, 4, 4)]
    seen = []
    model.blocks[0].register_forward_hook(lambda *_: seen.append("blocks.0"))
    model.forward_intermediates(
        torch.randn(1, 3, 16, 16), indices=[0], stop_early=True, intermediates_only=True
    )
    assert not seen


def test_a_stream_belongs_to_its_model_and_is_not_entered_twice():
    model = enliven(sd.create_model("sdt_2_256_cifar", **SMALL).double().eval())
    frame = torch.randn(1, 3, 16, 16, dtype=torch.float64)
    _, state = model.step(frame)
    other = enliven(sd.create_model("spikingformer_4_256_cifar", **SMALL).double().eval())
    with pytest.raises(InputError, match="belongs to another model"):
        other.step(frame, state)
    with pytest.raises(InputError, match="one frame"):
        model.step(frame.unsqueeze(0), state)
    branch_a, _ = model.step(frame, state)
    branch_b, _ = model.step(frame, state)
    assert torch.equal(branch_a, branch_b)  # stepping twice from one state gives one answer


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (2, 4)])
def test_a_state_belongs_to_its_batch(before, after):
    """That of one sample would be spread over all others in silence."""
    model = enliven(sd.create_model("sdt_2_256_cifar", **SMALL).eval())
    _, state = model.step(torch.randn(before, 3, 16, 16))
    with pytest.raises(
        InputError, match=rf"this state is of a batch of {before} \(.*\), the frame has {after}"
    ):
        model.step(torch.randn(after, 3, 16, 16), state)
    with pytest.raises(
        InputError, match="a state is what `step` returned, or None to begin; found dict"
    ):
        model.step(torch.randn(1, 3, 16, 16), {})


@pytest.mark.parametrize("name", NAMES)
def test_compile_takes_the_whole_model(name):
    model = enliven(sd.create_model(name, **SMALL, time_steps=2).double())
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    compiled(x).sum().backward()
    grads = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model(x).sum().backward()
    for key, grad in grads.items():
        torch.testing.assert_close(grad, model.get_parameter(key).grad, rtol=1e-9, atol=1e-9)
