"""PyTorch's own tools on whole networks: one small network of each family
(docs/pytorch_tools.md).
"""

import copy
import io
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import spikedriven as sd
from spikedriven.models.registry import family_of
from tests.networks import classifiers, enliven, live_input, live_model, shrunk

#: The first registered classifier of each family.
FAMILIES = {family_of(name): name for name in reversed(classifiers())}
every_family = pytest.mark.parametrize("name", sorted(FAMILIES.values()))
#: Two of them always, the others among the slow tests.
ALWAYS = ("sdt_8_384", "e_spikeformer_3m")
each_when_slow = pytest.mark.parametrize(
    "name",
    [
        n if n in ALWAYS else pytest.param(n, marks=pytest.mark.slow)
        for n in sorted(FAMILIES.values())
    ],
)
#: PyTorch loads its own formulas for tangents with what it calls deprecated, and calls torch.jit
#: so.
old_tools = pytest.mark.filterwarnings(
    "ignore:.torch.jit:FutureWarning", "ignore:.torch.jit:DeprecationWarning"
)


def smallest(name: str, **keywords: Any) -> nn.Module:
    return live_model(name, **{**shrunk(name), "num_classes": 5, **keywords})


@old_tools
@every_family
def test_forward_mode_is_the_transpose_of_the_gradient(name: str) -> None:
    model = smallest(name)
    x = live_input(model)
    tangent, upstream = torch.randn_like(x), torch.randn(2, 5, dtype=x.dtype)
    logits, forward = torch.func.jvp(model, (x,), (tangent,))
    torch.testing.assert_close(logits, model(x))
    (gradient,) = torch.autograd.grad(model(x.requires_grad_()), x, upstream)
    assert gradient.abs().max() > 0
    torch.testing.assert_close((upstream * forward).sum(), (gradient * tangent).sum())


@every_family
def test_gradients_of_each_image_for_itself(name: str) -> None:
    model = smallest(name)
    x, labels = live_input(model), torch.tensor([3, 1])
    parameters = {key: p.detach() for key, p in model.named_parameters() if p.requires_grad}

    def loss(parameters: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(
            torch.func.functional_call(model, parameters, (image[None],)), label[None]
        )

    mapped = torch.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, x, labels)
    for i in range(2):
        model.zero_grad()
        F.cross_entropy(model(x[i : i + 1]), labels[i : i + 1]).backward()
        for key, parameter in model.named_parameters():
            if parameter.grad is not None:
                torch.testing.assert_close(mapped[key][i], parameter.grad, rtol=1e-7, atol=1e-9)


@old_tools
@pytest.mark.filterwarnings(
    "ignore::torch.jit.TracerWarning"
)  # it says that choices by shape are kept
@each_when_slow
def test_jit_trace_with_its_checks(name: str) -> None:
    model = smallest(name).float()
    x, other = live_input(model).float(), live_input(model, batch=3, seed=5).float()
    traced = torch.jit.trace(model, x)  # compares values and graphs of a second tracing
    torch.testing.assert_close(traced(other), model(other))
    graph = str(
        torch.jit.trace(model.train(), x).inlined_graph
    )  # in training no kernel hides an operator
    assert graph.count("aten::batch_norm") == sum(
        isinstance(m, nn.BatchNorm2d) for m in model.modules()
    )
    assert "prim::PythonOp" not in graph and "^_" not in graph


@each_when_slow
def test_export_with_an_open_batch(name: str) -> None:
    model = smallest(name)
    program = torch.export.export(
        model, (live_input(model),), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},)
    )
    for batch in (1, 3):
        x = live_input(model, batch, seed=batch)
        torch.testing.assert_close(program.module()(x), model(x))


@pytest.mark.parametrize("name", sd.list_models())
def test_a_state_dict_is_saved_as_safetensors(name: str) -> None:
    """None of its tensors is a view with gaps, and no two share memory."""
    with torch.device("meta"):
        model = sd.create_model(name)
    for key, tensor in model.state_dict().items():
        assert tensor.is_contiguous(), key
    small = sd.create_model(name, **shrunk(name))
    restored = safetensors.torch.load(safetensors.torch.save(small.state_dict()))
    assert restored.keys() == small.state_dict().keys()
    assert all(torch.equal(restored[key], value) for key, value in small.state_dict().items())


@every_family
def test_pickled_and_copied_networks_compute_the_same(name: str) -> None:
    model = smallest(name)
    x, file = live_input(model), io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        assert torch.equal(other(x), model(x))


@pytest.mark.slow  # inductor compiles for a quarter of a minute and more
@every_family
def test_compiled_training_goes_on_with_another_size_and_batch(name: str) -> None:
    """Each image size is compiled for itself; the batch is left open once it has changed."""
    torch._dynamo.reset()
    few = {"depth": 1} if "depth" in shrunk(name) else {}
    model = enliven(
        sd.create_model(name, **{**shrunk(name), **few, "num_classes": 5}).double().train()
    )
    compiled = torch.compile(model, fullgraph=True)
    like = live_input(model)
    for size, batch in ((like.shape[-1], 2), (2 * like.shape[-1], 2), (2 * like.shape[-1], 4)):
        x = torch.randn(batch, *like.shape[1:-2], size, size, dtype=torch.float64)
        twin = copy.deepcopy(model)
        model.zero_grad()
        compiled(x).square().sum().backward()
        twin(x).square().sum().backward()
        for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
            if theirs.grad is not None:
                scale = float(theirs.grad.abs().max())
                torch.testing.assert_close(
                    ours.grad, theirs.grad, rtol=1e-6, atol=1e-9 * max(scale, 1.0)
                )
