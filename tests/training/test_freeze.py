"""Parts that a run leaves as they are: their weights, their batch norms' statistics, and what is
refused."""

import dataclasses
from pathlib import Path

import pytest
import torch

from spikedriven.errors import RecipeError
from spikedriven.recipes import load_recipe
from spikedriven.recipes.types import ModelConfig, Recipe, RunConfig
from spikedriven.runs.checkpoint import load_run
from spikedriven.tasks import create_task
from spikedriven.training.freeze import freeze, frozen_norms
from tests.tasks.toys import classifier, masked_autoencoder, recipe
from tests.training.toys import train


def network() -> torch.nn.Module:
    return create_task(recipe(classifier())).build_model()


def trained(model: torch.nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_patterns_name_parameters_and_modules() -> None:
    model = network()
    everything = trained(model)
    assert freeze(model, []) is None and trained(model) == everything
    said = freeze(model, ["stages.0", "*.bias"])
    kept = {
        name
        for name in everything
        if not name.startswith("stages.0.") and not name.endswith(".bias")
    }
    assert trained(model) == kept and said is not None and said.startswith("frozen: ")


def test_what_is_taken_back_is_trained() -> None:
    model = network()
    said = freeze(model, ["*", "!head"])
    assert trained(model) == {"head.weight", "head.bias"}
    total, head = (sum(p.numel() for p in part.parameters()) for part in (model, model.head))
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert said == f"frozen: {total - head:,} of {total:,} parameters, {len(norms)} batch norms"
    assert frozen_norms(model, ["*", "!head"]) == norms and len(norms) > 3


def test_a_norm_is_frozen_with_all_it_has_only() -> None:
    model = torch.nn.Sequential(
        torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(2, affine=False), torch.nn.Linear(2, 2)
    )
    assert frozen_norms(model, ["0"]) == [model[0]] and frozen_norms(model, ["0.weight"]) == []
    assert frozen_norms(model, ["*", "!2"]) == [model[0], model[1]]


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (
            ["stem"],
            r"model\.freeze 'stem': names no parameter\. The network has the parts stages, head",
        ),
        (["stages", "!tail"], r"model\.freeze '!tail': names no parameter"),
        (["*"], "nothing is left to train"),
    ],
)
def test_patterns_that_are_refused(patterns: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        freeze(network(), patterns)


def short(model: ModelConfig, steps: int, task: str = "classification") -> Recipe:
    run = RunConfig(device="cpu", batch_size=20, log_steps=1, ema=0.9, max_steps=steps)
    return recipe(model, task, run=run)


def test_a_run_leaves_frozen_parts_alone_and_resumes_to_the_same_bits(
    tmp_path: Path, capsys
) -> None:
    """Weights, statistics and averages of the frozen stages stay; the head is trained."""
    model = dataclasses.replace(classifier(), freeze=("stages",))
    torch.manual_seed(short(model, 4).run.seed)
    start = create_task(short(model, 4)).build_model().state_dict()
    whole, _ = train(short(model, 4), tmp_path / "whole")
    assert "frozen: " in capsys.readouterr().err
    assert whole.learner.ema is not None
    for state in (whole.learner.net.state_dict(), whole.learner.ema.module.state_dict()):
        frozen = [name for name in start if name.startswith("stages.")]
        assert len(frozen) > 20 and all(torch.equal(state[name], start[name]) for name in frozen)
    assert not torch.equal(whole.learner.net.state_dict()["head.weight"], start["head.weight"])
    train(short(model, 2), tmp_path / "r")
    resumed, _ = train(short(model, 4), tmp_path / "r", resume=True)
    for name, value in whole.learner.net.state_dict().items():
        assert torch.equal(resumed.learner.net.state_dict()[name], value), name


def test_the_linear_probe_that_ships(tmp_path: Path) -> None:
    """Two steps as it says, from a pre-training of two steps: the encoder stays as that left it."""
    train(short(masked_autoencoder(), 2, "pretraining"), tmp_path / "mae")
    shipped = load_recipe("mae_linear_probe").model
    assert (shipped.freeze, shipped.init, shipped.init_strict) == (
        ("*", "!head"),
        "runs/study_mae_pretrain",
        False,
    )
    model = dataclasses.replace(
        classifier(),
        freeze=shipped.freeze,
        init=str(tmp_path / "mae"),
        init_strict=shipped.init_strict,
    )
    trainer, _ = train(short(model, 2), tmp_path / "probe")
    encoder, own = load_run(tmp_path / "mae")[0].state_dict(), trainer.learner.net.state_dict()
    stages = [name for name in own if name.startswith("stages.")]
    assert len(stages) > 20 and all(torch.equal(own[name], encoder[name]) for name in stages)
