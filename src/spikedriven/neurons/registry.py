"""Neurons by name: what families, recipes and the command line mean by ``neuron="lif"``."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from spikedriven.errors import InputError, did_you_mean
from spikedriven.neurons.base import Neuron

#: Options -> a neuron.
NeuronFactory = Callable[..., Neuron]
#: A registered name, or ``{"name": "lif", "tau": 1.5}``: a name with options.
NeuronChoice = str | Mapping[str, Any]

_NEURONS: dict[str, type[Neuron]] = {}


def register_neuron(name: str) -> Callable[[type[Neuron]], type[Neuron]]:
    """Class decorator: from now on ``neuron=name`` builds this class.

    Raises InputError for a name that another class has, and for a class that is no `Neuron`.
    """

    def register(cls: type[Neuron]) -> type[Neuron]:
        if not (isinstance(cls, type) and issubclass(cls, Neuron)):
            raise InputError(f"{cls!r} is no neuron: derive it from spikedriven.neurons.Neuron")
        taken = _NEURONS.get(name)
        if taken is not None and (taken.__module__, taken.__qualname__) != (
            cls.__module__,
            cls.__qualname__,
        ):
            raise InputError(
                f"the name {name!r} belongs to {taken.__module__}.{taken.__qualname__}; "
                f"choose another one for {cls.__qualname__}"
            )
        _NEURONS[name] = cls
        return cls

    return register


def list_neurons() -> list[str]:
    """All registered names, sorted."""
    return sorted(_NEURONS)


def neuron_class(choice: NeuronChoice) -> type[Neuron]:
    """The class that a choice names. Raises InputError where none has that name."""
    name = _split(choice)[0]
    if name not in _NEURONS:
        raise InputError(
            f"neuron {name!r} is not known; {did_you_mean(name, list_neurons())} Your own: "
            "spikedriven.neurons.register_neuron"
        )
    return _NEURONS[name]


def takes_option(choice: NeuronChoice, option: str) -> bool:
    """Whether neurons of this choice are built with an option of this name."""
    return option in _options(neuron_class(choice))


def neuron_factory(
    choice: NeuronChoice, tau: float | None = None, **defaults: Any
) -> NeuronFactory:
    """A function that builds neurons of one kind: ``make = neuron_factory("lif", tau=1.5)``.

    Options come from ``make(...)``, from the choice, and from the defaults, in this order. tau: the
    time constant of a family; a neuron without one refuses any but the customary 2. A threshold
    that a neuron has no option for is set through its `rescale`.
    """
    cls, (name, chosen) = neuron_class(choice), _split(choice)
    if tau is not None and takes_option(choice, "tau"):
        defaults["tau"] = tau
    elif tau not in (None, 2.0):
        raise InputError(f"neuron {name!r} has no time constant; leave tau = {tau} out")

    def make(**options) -> Neuron:
        wanted = {**defaults, **chosen, **options}
        threshold = None if takes_option(choice, "v_threshold") else wanted.pop("v_threshold", None)
        neuron = _built(cls, name, wanted)
        if threshold is not None:
            neuron.rescale(threshold)
        return neuron

    return make


def _split(choice: NeuronChoice) -> tuple[str, dict[str, Any]]:
    """(name, options) of a choice."""
    if isinstance(choice, str):
        return choice, {}
    if not isinstance(choice, Mapping) or "name" not in choice:
        raise InputError(
            "a neuron is chosen by name, or by a mapping with its name and options such as "
            f"{{'name': 'lif', 'tau': 1.5}}; found {choice!r}"
        )
    options = dict(choice)
    return options.pop("name"), options


def _options(cls: type[Neuron]) -> list[str]:
    parameters = inspect.signature(cls).parameters.values()
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def _built(cls: type[Neuron], name: str, options: Mapping[str, Any]) -> Neuron:
    known = _options(cls)
    for option in options:
        if option not in known:
            raise InputError(
                f"neuron {name!r} has no option {option!r}; {did_you_mean(option, known)}"
            )
    return cls(**options)
