"""Parameter groups, the blr rule and LAMB's details that published runs depend on."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from spikedriven import create_model
from spikedriven.errors import InputError, RecipeError
from spikedriven.recipes.types import OptimConfig
from spikedriven.training.optim import create_optimizer, parameter_groups, peak_learning_rate
from spikedriven.training.schedule import set_learning_rate

UNITS = json.loads((Path(__file__).parents[1] / "golden" / "sdtv3_units.json").read_text())


class Layered(nn.Module):
    """The layer structure of the large SDT-V3 models: a stem, twelve blocks, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(2, 2)
        self.blocks = nn.ModuleList(nn.Linear(2, 2) for _ in range(12))
        self.head = nn.Linear(2, 2)

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        return {"stem": r"^stem", "blocks": r"^blocks\.(\d+)"}


def test_layer_decay_gives_the_releases_scales() -> None:
    ours = {
        (group["lr_scale"], group["weight_decay"])
        for group in parameter_groups(Layered(), 0.05, 0.75)
    }
    published = {(scale, decay) for scale, decay, _, _ in UNITS["large_layer_decay_0.75"]["groups"]}
    assert len(published) == 28
    for group, expected in zip(sorted(ours), sorted(published), strict=True):
        assert group == pytest.approx(expected, rel=1e-12)


def summary(groups: list[dict]) -> list[tuple[float, float, int, int]]:
    """(lr_scale, weight decay, tensors, numbers) of each group."""

    def numbers(group: dict) -> int:
        return sum(parameter.numel() for parameter in group["params"])

    return sorted(
        (g.get("lr_scale", 1.0), g["weight_decay"], len(g["params"]), numbers(g)) for g in groups
    )


def test_layer_decay_reaches_every_tensor_of_the_real_model_as_in_the_release() -> None:
    with torch.device("meta"):
        model = create_model("e_spikeformer_83m")
    published = sorted(map(tuple, UNITS["large_layer_decay_0.75"]["groups"]))
    for ours, theirs in zip(summary(parameter_groups(model, 0.05, 0.75)), published, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-12)


def test_decay_groups_of_the_real_model_are_those_of_the_release() -> None:
    with torch.device("meta"):
        model = create_model("meta_spikeformer_31m")
    assert summary(parameter_groups(model, 0.05)) == sorted(map(tuple, UNITS["v2_param_groups"]))


def test_layer_decay_slows_the_lower_layers_down() -> None:
    model = Layered().double()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = create_optimizer(model, OptimConfig(lr=1.0, weight_decay=0.0, layer_decay=0.5), 1)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    set_learning_rate(optimizer, 0.01)
    optimizer.step()  # Adam's first step: the learning rate times the gradient's sign
    for name, layers_above in (
        ("stem.weight", 13),
        ("blocks.0.bias", 12),
        ("blocks.11.weight", 1),
        ("head.bias", 0),
    ):
        moved = before[name] - model.state_dict()[name]
        assert moved.flatten().tolist() == pytest.approx(
            [0.01 * 0.5**layers_above] * moved.numel(), rel=1e-6
        )


def test_decay_all_spares_nothing_but_frozen_tensors() -> None:
    model = Layered()
    model.stem.bias.requires_grad_(False)
    (group,) = parameter_groups(model, 0.05, decay_all=True)
    assert group["weight_decay"] == 0.05 and len(group["params"]) == 27
    assert (
        create_optimizer(model, OptimConfig(lr=1.0, decay_all=True), 1).param_groups[0][
            "weight_decay"
        ]
        == 0.05
    )
    with pytest.raises(RecipeError, match="not offered beside layer_decay"):
        OptimConfig(lr=1.0, decay_all=True, layer_decay=0.75)


def test_layer_decay_without_layer_order_is_refused() -> None:
    with pytest.raises(InputError, match="group_matcher"):
        parameter_groups(nn.Linear(2, 2), 0.05, 0.75)


def test_weight_decay_spares_biases_norms_and_time_constants() -> None:
    model = create_model("sdt_2_256_cifar", embed_dim=32, neuron="plif", num_classes=10)
    groups = {group["weight_decay"]: group["params"] for group in parameter_groups(model, 0.06)}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, spared = (
        {names[id(parameter)] for parameter in groups[decay]} for decay in (0.06, 0.0)
    )
    assert decayed == {
        name for name, p in model.named_parameters() if p.requires_grad and p.ndim > 1
    }
    assert {name.rsplit(".", 1)[1] for name in spared} == {"weight", "bias", "w"}
    assert decayed | spared == {
        name for name, parameter in model.named_parameters() if parameter.requires_grad
    }


def test_blr_rule_reproduces_the_published_rates() -> None:
    for blr, batch, expected in (
        (6e-4, 128 * 8, 2.4e-3),
        (1.5e-4, 256 * 8, 1.2e-3),
        (4e-5, 24 * 3, 1.125e-5),
    ):
        assert peak_learning_rate(OptimConfig(blr=blr), batch) == pytest.approx(expected)
    assert peak_learning_rate(OptimConfig(lr=0.1), 999) == 0.1


def test_lamb_clips_the_gradient_and_scales_only_decayed_groups() -> None:
    model = nn.Linear(3, 2).double()
    with torch.no_grad():
        model.weight.fill_(2.0)
        model.bias.fill_(2.0)
    optimizer = create_optimizer(model, OptimConfig(name="lamb", lr=0.1, weight_decay=0.01), 1)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 10.0)
    optimizer.step()
    # the first update is m / (sqrt(v) + eps) of the gradient clipped to norm 1: each of its 8
    # entries is 1 / sqrt(8)
    clipped = 8**-0.5
    raw = clipped / (clipped + 1e-6)
    assert model.bias.detach().tolist() == pytest.approx([2.0 - 0.1 * raw] * 2, rel=1e-12)
    update = raw + 0.01 * 2.0
    trust = 2.0 / update  # norm of the weights over norm of the update
    assert model.weight.detach().flatten().tolist() == pytest.approx(
        [2.0 - 0.1 * trust * update] * 6, rel=1e-12
    )


def test_trust_clip_limits_the_ratio_to_one() -> None:
    model = nn.Linear(3, 2).double()
    with torch.no_grad():
        model.weight.fill_(2.0)
    optimizer = create_optimizer(
        model, OptimConfig(name="lamb", lr=0.1, weight_decay=0.01, trust_clip=True), 1
    )
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 10.0)
    optimizer.step()
    clipped = 8**-0.5
    assert model.weight.detach()[0, 0].item() == pytest.approx(
        2.0 - 0.1 * (clipped / (clipped + 1e-6) + 0.02), rel=1e-12
    )


def test_betas_and_eps_reach_the_optimiser() -> None:
    group = create_optimizer(
        nn.Linear(2, 2), OptimConfig(lr=1.0, betas=(0.9, 0.95), eps=1e-4), 1
    ).param_groups[0]
    assert (group["betas"], group["eps"]) == ((0.9, 0.95), 1e-4)


@pytest.mark.parametrize("decay_all", [False, True])
def test_head_lr_scale_reaches_the_head_and_nothing_else(decay_all: bool) -> None:
    model = torch.nn.ModuleDict({"body": torch.nn.Linear(3, 4), "head": torch.nn.Linear(4, 2)})
    model["body"].bias.requires_grad_(False)
    groups = parameter_groups(model, 0.1, decay_all=decay_all, head_lr_scale=10.0)
    found = {
        id(p): (group["lr_scale"], group["weight_decay"])
        for group in groups
        for p in group["params"]
    }
    assert found == {
        id(model["body"].weight): (1.0, 0.1),
        id(model["head"].weight): (10.0, 0.1),
        id(model["head"].bias): (10.0, 0.1 if decay_all else 0.0),
    }
    with pytest.raises(RecipeError, match=r"optim\.head_lr_scale"):
        OptimConfig(lr=1e-3, head_lr_scale=2.0, layer_decay=0.9)
    with pytest.raises(RecipeError, match=r"optim\.head_lr_scale"):
        OptimConfig(lr=1e-3, head_lr_scale=0.0)
