"""Weights by rule; that it is the rule of the golden files is what tests/golden checks."""

import torch

import spikedriven as sd
from spikedriven.bench.rule import load_rule, rule_tensor
from tests.networks import shrunk


def test_a_network_gets_the_same_weights_whatever_it_held():
    one, other = (sd.create_model("sdt_2_256_cifar", **shrunk("sdt_2_256_cifar")) for _ in range(2))
    assert not torch.equal(one.head.weight, other.head.weight)
    for model in (one, other):
        load_rule(model, "sdt_2_256_cifar")
    assert all(
        torch.equal(a, b)
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )
    assert torch.equal(
        one.head.weight, rule_tensor("head.weight", tuple(one.head.weight.shape), gain=2.0).float()
    )


def test_layer_scales_show_attention_and_time_constants_stay():
    large = sd.create_model("e_spikeformer_gesture_6m", **shrunk("e_spikeformer_gesture_6m"))
    load_rule(large, "e_spikeformer_gesture_6m")
    scales = [value for key, value in large.named_parameters() if key.endswith(".scale")]
    assert scales and all(value.min() >= 0.5 and value.max() <= 1.5 for value in scales)
    plif = sd.create_model("sdt_2_256_cifar", neuron="plif", **shrunk("sdt_2_256_cifar"))
    before = plif.stem[0].neuron.w.item()
    load_rule(plif, "sdt_2_256_cifar")
    assert plif.stem[0].neuron.w.item() == before
