"""Networks that fire, for tests: random weights strong enough that hardly a neuron stays silent."""

import inspect
from collections.abc import Iterable

import pytest
import torch
from torch import nn

import spikedriven as sd
from spikedriven.models.registry import family_of, variant_of

#: Between them: every family and form of it, both kinds of neuron, both inputs, every attention.
OF_EACH_KIND = (
    "sdt_8_512", "sdt_2_256_cifar", "sdt_2_256_gesture", "sdt_2_256_cifar10dvs",
    "spikingformer_8_384", "spikingformer_2_256_dvs",
    "meta_spikeformer_15m", "meta_spikeformer_hardvs_18m",
    "e_spikeformer_5m", "e_spikeformer_171m", "e_spikeformer_gesture_6m", "spike_mae_12_512",
    "spikformer_8_384", "spikformer_4_384_cifar", "qkformer_10_384",
)  # fmt: skip


def by_kind(names: Iterable[str]) -> list:
    """Names for parametrize: one of each kind always, its sisters among the slow tests."""
    slow = pytest.mark.slow
    return [name if name in OF_EACH_KIND else pytest.param(name, marks=slow) for name in names]


def blank_model(name: str, **keywords) -> nn.Module:
    """A registered model in float64 and eval mode with unset weights: drawing initial ones
    takes most of the time.
    """
    with torch.device("meta"):
        model = sd.create_model(name, **keywords)
    return model.double().to_empty(device="cpu").eval()


def classifiers(filter: str = "*") -> list[str]:
    """Registered names whose networks map inputs to logits: all but the masked autoencoders."""
    return [name for name in sd.list_models(filter) if variant_of(name).num_classes is not None]


def shrunk(name: str, blocks: int = 1) -> dict:
    """Keywords that keep a registered network's structure, without its width and with so many
    blocks a stage.
    """
    published = {
        k: p.default for k, p in inspect.signature(family_of(name)).parameters.items()
    } | variant_of(name).args
    if "embed_dims" in published:
        stages = len(published["embed_dims"])
        return {
            "embed_dims": (8, 16, 32, 40)[:stages],
            "depths": tuple(min(d, blocks) for d in published["depths"]),
        }
    width = {"embed_dim": 96 if 96 % published["num_heads"] == 0 else 32}
    if "depths" in published:
        return width | {"depths": tuple(min(depth, blocks) for depth in published["depths"])}
    return width | {"depth": min(published["depth"], blocks)}


def live_model(name: str, **keywords) -> nn.Module:
    """A registered model in float64 and eval mode with seeded weights; T is 2 unless given."""
    return enliven(blank_model(name, **{"time_steps": 2, **keywords}))


def enliven(model: nn.Module, seed: int = 0) -> nn.Module:
    """Redraw every weight and batch-norm statistic, so that spikes reach every layer."""
    rng = torch.Generator().manual_seed(seed)

    def normal(like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=rng, dtype=torch.float32).to(like.dtype)

    with torch.no_grad():
        for parameter in model.parameters():
            gain = 2.0 * (2.0 / parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.2
            parameter.copy_(gain * normal(parameter))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.num_batches_tracked.zero_()
                module.running_mean.copy_(0.1 * normal(module.running_mean))
                module.running_var.copy_(1.0 + 0.2 * normal(module.running_var).tanh())
                module.weight.copy_(1.2 + 0.3 * normal(module.weight).tanh())
    return model


def live_input(model: nn.Module, batch: int = 2, seed: int = 1) -> torch.Tensor:
    """Random float64 input in the layout the variant was made for, small: 16 positions in the
    last map.
    """
    size = 4 * model.feature_info[-1]["reduction"]
    rng = torch.Generator().manual_seed(seed)
    steps = (model.time_steps,) if model.input_layout == "events" else ()
    return (
        torch.randn(batch, *steps, model.in_chans, size, size, generator=rng, dtype=torch.float64)
        * 1.5
    )
