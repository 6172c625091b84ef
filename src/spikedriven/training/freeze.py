"""Parts of a network that a run leaves as they are (`model.freeze`): fine-tuning the rest, or a
linear probe, which trains the head alone."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from spikedriven.errors import RecipeError


def freeze(model: nn.Module, patterns: Sequence[str]) -> str | None:
    """Take the parameters that the patterns name out of training, in place; returns what to say.

    A pattern is the name of a parameter or of a module, with wildcards: "stem", "blocks.*", "*".
    One that begins with "!" takes back what those before it named: ["*", "!head"] leaves the head.
    RecipeError for a pattern that names nothing, and where nothing is left to train.
    """
    parameters = dict(model.named_parameters())
    frozen = _named(list(parameters), patterns)
    for pattern in patterns:
        if not any(_names(pattern.removeprefix("!"), name) for name in parameters):
            parts = ", ".join(dict.fromkeys(name.partition(".")[0] for name in parameters))
            raise RecipeError(
                f"model.freeze {pattern!r}: names no parameter. The network has the parts {parts}"
            )
    for name in frozen:
        parameters[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise RecipeError(
            f"model.freeze {list(patterns)}: nothing is left to train; take a part back, such as "
            "'!head'"
        )
    if not frozen:
        return None
    counts = [sum(parameters[name].numel() for name in names) for names in (frozen, parameters)]
    return (
        f"frozen: {counts[0]:,} of {counts[1]:,} parameters, {len(frozen_norms(model, patterns))} "
        "batch norms"
    )


def frozen_norms(model: nn.Module, patterns: Sequence[str]) -> list[_BatchNorm]:
    """The batch norms of the frozen parts. In training they stay in evaluation mode: they normalise
    with their running statistics, and keep them."""
    found = []
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            own = [f"{name}.{tensor}" for tensor in module.state_dict()]
            if len(_named(own, patterns)) == len(own):
                found.append(module)
    return found


def _named(names: Sequence[str], patterns: Sequence[str]) -> set[str]:
    """Those of the names that are frozen once every pattern has had its turn."""
    frozen: set[str] = set()
    for pattern in patterns:
        wanted = {name for name in names if _names(pattern.removeprefix("!"), name)}
        frozen = frozen - wanted if pattern.startswith("!") else frozen | wanted
    return frozen


def _names(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")
