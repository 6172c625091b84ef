"""Every optimiser of timm by its name: it learns, it resumes to the same bits, or it says why it
cannot be used."""

import copy
import io

import pytest
import torch
from timm.optim import list_optimizers
from torch import nn

from spikedriven.errors import RecipeError
from spikedriven.recipes.types import OptimConfig
from spikedriven.training.optim import create_optimizer

#: Need a package and a GPU; kron compiles itself and takes seconds.
ELSEWHERE = [name for name in list_optimizers() if name.startswith(("fused", "bnb"))]
SLOW = [name for name in list_optimizers() if name.startswith("kron")]
HERE = [name for name in list_optimizers() if name not in (*ELSEWHERE, *SLOW, "adahessian")]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 3))


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, numbers: range) -> None:
    for number in numbers:
        images = torch.randn(6, 2, 4, 4, generator=torch.Generator().manual_seed(number))
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(images), torch.arange(6) % 3).backward()
        torch.manual_seed(number)
        optimizer.step()


def check(name: str) -> None:
    """Three steps move the weights; from a state that went through a file three more end with the
    same bits."""
    config = OptimConfig(name=name, lr=1e-3)
    whole = network()
    optimizer, before = create_optimizer(whole, config, 1), copy.deepcopy(whole.state_dict())
    steps(whole, optimizer, range(3))
    assert not torch.equal(whole.state_dict()["3.weight"], before["3.weight"])
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    resumed = network()
    resumed.load_state_dict(whole.state_dict())
    second = create_optimizer(resumed, config, 1)
    second.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    steps(whole, optimizer, range(3, 9))
    steps(resumed, second, range(3, 9))
    for key, value in whole.state_dict().items():
        assert torch.isfinite(value).all() and torch.equal(resumed.state_dict()[key], value), key


@pytest.mark.parametrize("name", [*HERE, "lookahead_adamw", "lookahead_sgd", "lookahead_lamb"])
def test_it_learns_and_resumes(name: str) -> None:
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SLOW, *(f"lookahead_{name}" for name in HERE)])
def test_it_learns_and_resumes_slowly(name: str) -> None:
    check(name)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_needs_a_gpu_says_so(name: str) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU: it may well work")
    with pytest.raises(
        RecipeError, match=rf"optim\.name {name} .*(CUDA|[Ii]nstall|import|requires)"
    ):
        create_optimizer(network(), OptimConfig(name=name, lr=1e-3), 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "adamv"}, r"timm has no optimiser 'adamv'; did you mean .*adam"),
        ({"name": "lookahead_adamv"}, "timm has no optimiser 'lookahead_adamv'"),
        ({"name": "look_adamw"}, "timm has no optimiser 'look_adamw'"),
        ({"name": "adahessian"}, "needs second derivatives"),
        ({"name": "sgd", "betas": (0.9, 0.99)}, r"optim\.betas: .* sgd has none"),
        ({"name": "sgd", "eps": 1e-8}, r"optim\.eps: .* sgd has none"),
        ({"name": "adamw", "momentum": 0.9}, r"optim\.momentum: .* adamw has none"),
        ({"name": "adan", "betas": (0.9, 0.99)}, r"optim\.betas: adan has 3, found 2"),
    ],
)
def test_options_that_an_optimiser_has_not(values: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        OptimConfig(lr=1e-3, **values)


def test_options_reach_the_optimiser() -> None:
    sgd = create_optimizer(
        network(), OptimConfig(name="sgd", lr=0.1, momentum=0.5, args={"nesterov": False}), 1
    )
    assert (sgd.param_groups[0]["momentum"], sgd.param_groups[0]["nesterov"]) == (0.5, False)
    adan = create_optimizer(
        network(), OptimConfig(name="adan", lr=0.1, betas=(0.9, 0.8, 0.7), eps=1e-3), 1
    )
    assert (tuple(adan.param_groups[0]["betas"]), adan.param_groups[0]["eps"]) == (
        (0.9, 0.8, 0.7),
        1e-3,
    )
    with pytest.raises(RecipeError, match=r"optim\.name adamw with args .*caution"):
        create_optimizer(network(), OptimConfig(lr=0.1, args={"cautious": True, "caution_": 1}), 1)
