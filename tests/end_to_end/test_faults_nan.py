"""A number that is none, put into a random layer of every family: training stops, and the layer
is named.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spikedriven as sd
from spikedriven.models.registry import family_of, variant_of
from spikedriven.tasks import TASKS
from spikedriven.training.diagnose import NonFiniteError, first_non_finite
from tests.networks import enliven, live_input, shrunk
from tests.training.toys import ToyTask, toy_recipe, train

#: The first registered name of each family, and of each kind of neuron in it.
NAMES = list(
    {
        (family_of(name), variant_of(name).args.get("neuron")): name
        for name in reversed(sd.list_models())
    }.values()
)
LAYERS = pytest.mark.parametrize("layers", [4, pytest.param(30, marks=pytest.mark.slow)])


def network(name: str) -> nn.Module:
    size = {"img_size": 64} if variant_of(name).num_classes is None else {}
    return enliven(sd.create_model(name, time_steps=2, **shrunk(name, 2), **size)).train()


def loss_of(model: nn.Module, x: Tensor) -> Tensor:
    output = model(x)
    return output.loss if hasattr(output, "loss") else output.square().mean()


@contextmanager
def broken(module: nn.Module) -> Iterator[None]:
    """One number of what the module puts out is not a number."""

    def spoil(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        if not isinstance(output, Tensor):
            return (spoil(_module, _inputs, output[0]), *output[1:])
        spoilt = output.clone()
        spoilt.view(-1)[spoilt.numel() // 2] = float("nan")
        return spoilt

    handle = module.register_forward_hook(spoil)
    try:
        yield
    finally:
        handle.remove()


def called(model: nn.Module, x: Tensor) -> dict[str, nn.Module]:
    """Modules that take part in a forward pass and put out tensors, by name."""
    found: dict[str, nn.Module] = {}
    handles = []
    for name, module in model.named_modules():

        def note(module: nn.Module, _inputs: Any, output: Any, name: str = name) -> None:
            first = output[0] if isinstance(output, tuple) else output
            if name and isinstance(first, Tensor) and first.is_floating_point():
                found[name] = module

        handles.append(module.register_forward_hook(note))
    loss_of(model, x)
    for handle in handles:
        handle.remove()
    return found


def loss_and_norm(model: nn.Module, x: Tensor) -> Tensor:
    """Loss and global gradient norm, as the loop looks at them."""
    model.zero_grad()
    torch.manual_seed(0)
    loss = loss_of(model, x)
    loss.backward()
    return torch.stack(
        [loss, nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])]
    )


@LAYERS
@pytest.mark.parametrize("name", NAMES)
def test_the_first_bad_layer_is_named(name: str, layers: int) -> None:
    model = network(name)
    x = live_input(model).float()
    modules, named = called(model, x), 0
    enliven(
        model
    )  # re-parameterised convolutions pad with running statistics, which each pass moves
    good = loss_and_norm(model, x)
    for chosen in random.Random(layers).sample(sorted(modules), layers):
        enliven(model)  # running statistics may be spoilt
        with broken(modules[chosen]):
            figures = loss_and_norm(model, x)
            found = first_non_finite(model, lambda: loss_of(model, x))
        if not figures.isfinite().all():
            assert found == f"the output of module {chosen} is the first to be non-finite"
            named += 1
        # nothing reads this output: the last neuron of some networks, what a fused operation leaves
        # out
        else:
            assert torch.equal(figures, good), f"training would go on with a bad {chosen}"
    assert named > layers // 2


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_that_is_bad_itself_is_named(name: str) -> None:
    model = network(name)
    x = live_input(model).float()
    x.view(-1)[7] = float("inf")
    assert not loss_and_norm(model, x).isfinite().all()
    assert (
        first_non_finite(model, lambda: loss_of(model, x), [(x, None)])
        == "the batch itself is non-finite"
    )


def test_bad_data_stop_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "toy", ToyTask)
    original = ToyTask.train_loader

    def spoilt(self: ToyTask, rank: int, size: int) -> Any:
        loader = original(self, rank, size)
        epoch = loader.epoch

        def batches(number: int, start_batch: int = 0) -> Iterator[Any]:
            for index, (inputs, labels) in enumerate(epoch(number, start_batch)):
                yield (inputs * float("nan") if index == 3 else inputs), labels

        monkeypatch.setattr(loader, "epoch", batches)
        return loader

    monkeypatch.setattr(ToyTask, "train_loader", spoilt)
    with pytest.raises(
        NonFiniteError, match=r"step 3 \(epoch 0, batch 3\).*the batch itself is non-finite"
    ):
        train(toy_recipe(), tmp_path / "run")
