"""`quantize`: a network whose weights are integers, as an ordinary module that computes what its
program computes.

Norms and factors are folded first (`fuse`; a depthwise convolution stays apart from the 1x1 behind
it). Then every module that holds the weights of one layer gives its place to a `QuantizedLayer` of
the same name. Places are found in the graph, whatever the classes of the modules; the forward of
the model stays as it is.
"""

import copy
import fnmatch
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from spikedriven.errors import FoldWarning, InputError
from spikedriven.graph import kinds
from spikedriven.graph.chains import constant_shape
from spikedriven.graph.edit import Values, carry_out
from spikedriven.graph.equality import check_input, exact_copy
from spikedriven.graph.firing import Batches, each_batch
from spikedriven.graph.fuse import plan_of
from spikedriven.graph.inputs import first_of, graphed_method, inputs_taken
from spikedriven.graph.nodes import Node
from spikedriven.graph.paths import contents, name_of
from spikedriven.graph.quantization import RECORD, LayerRecord, Quantization, put, record_of
from spikedriven.graph.quantized_places import Place, functional_weights, made_by, places_of
from spikedriven.graph.ranges import RANGES, reading_of, rounded, weight_steps
from spikedriven.graph.seen import see
from spikedriven.graph.trace import trace
from spikedriven.layers.fold import Idle
from spikedriven.layers.quantized import ChannelAffine, QuantizedLayer, Reading
from spikedriven.layers.quantized_training import TrainedLayer
from spikedriven.neurons.watch import neurons_of

#: Bits of weights: one number, or a number for each pattern of module names, of which the first
#: that fits counts.
WeightBits = int | Mapping[str, int]
BITS = (2, 3, 4, 5, 6, 7, 8, 16)
#: Layers that read the network's input, and classifiers, have at least so many bits unless a
#: pattern says otherwise.
BITS_AT_THE_ENDS = 8
#: Of so many values along the first axis PyTorch adds one after the other.
STEPS_IN_ORDER = 16


@dataclass(frozen=True)
class Options:
    """As `quantize` takes them."""

    weight_bits: WeightBits = 8
    ranges: str = "mse"
    power_of_two: bool = False
    progress: bool = False


def quantize(
    model: nn.Module,
    images: Batches,
    weight_bits: WeightBits = 8,
    ranges: str = "mse",
    power_of_two: bool = False,
    progress: bool = False,
) -> nn.Module:
    """A copy of a model with integer weights, for inference; the model itself stays as it is.

    images: real inputs for calibration, one batch or a loader: real values that a layer reads are
    rounded to 256 steps over what is seen there. weight_bits: 2 to 8, or 16; or numbers by patterns
    of module names such as ``{"head": 8, "*": 4}``. With one number, layers that read the input and
    classifiers keep 8 bits. ranges: "mse" takes the range of weights with the least squared error
    on the images, and corrects biases by what rounding changes in the mean; "max" takes the largest
    value. power_of_two: steps of weights are powers of two. progress: show a bar on stderr.

    ``model.quantization`` of the result says what was done. Warns (`FoldWarning`) of what stays in
    float32. Raises InputError for other bits or ranges, and for images that show nothing.

    Example::

        >>> import torch
        >>> import spikedriven as sd
        >>> model = sd.create_model("sdt_2_256_cifar", time_steps=2, embed_dim=32, depth=1).eval()
        >>> images = torch.rand(4, 3, 32, 32)
        >>> small = sd.quantize(model, images, weight_bits=4)
        >>> weight = small.head.weight
        >>> weight.dtype, int(weight.abs().max()) <= 127
        (torch.int8, True)
    """
    options = Options(weight_bits, ranges, power_of_two, progress)
    result = _Quantizing(model, images, options).result()
    left = cast(Quantization, record_of(result)).left
    if left:
        lines = [f"  {sentence}" for sentence in left]
        warnings.warn(
            "\n".join(["not everything is quantized:", *lines]), FoldWarning, stacklevel=2
        )
    return result


def quantized_copy(
    model: nn.Module, images: Batches, weight_bits: WeightBits = 8, **options: Any
) -> nn.Module:
    """As `quantize`, with its options; silent about what stays."""
    return _Quantizing(model, images, Options(weight_bits, **options)).result()


def trainable_copy(
    model: nn.Module, images: Batches, weight_bits: WeightBits = 8, **options: Any
) -> nn.Module:
    """As `quantized_copy`, with layers that go on learning (`layers.quantized_training`), in
    training mode; `frozen` gives the quantized module.
    """
    return _Quantizing(model, images, Options(weight_bits, **options)).result(trained=True)


def check_options(options: Options) -> None:
    """InputError unless `quantize` knows them."""
    bits = options.weight_bits
    given = bits.values() if isinstance(bits, Mapping) else [bits]
    if not all(type(number) is int and number in BITS for number in given):
        raise InputError(
            f"weight_bits must be one of {BITS}, or such numbers by name, found {bits!r}"
        )
    if options.ranges not in RANGES:
        raise InputError(f"ranges must be one of {RANGES}, found {options.ranges!r}")


class _Quantizing:
    def __init__(self, model: nn.Module, images: Batches, options: Options) -> None:
        check_options(options)
        if record_of(model) is not None:
            raise InputError(
                "this model is quantized already; quantize the one that it was made of"
            )
        self.before, self.options, self.trained = model, options, False
        batches = [*each_batch(images, inputs_taken(graphed_method(model)), options.progress)]
        self.model, self.attributes = _folded(model, batches[0])
        self.graph = trace(self.model, batches[0])
        self.values = Values(self.graph)
        self.places = {place.module: place for place in places_of(self.graph)}
        self.seen = see(
            self.model, {name: place.channels for name, place in self.places.items()}, batches
        )
        self.layers: dict[str, LayerRecord] = {}
        self.affines: dict[str, int] = {}
        self.left: list[str] = []

    def result(self, trained: bool = False) -> nn.Module:
        self.trained = trained
        with torch.no_grad():
            readings = {name: self._reading(place) for name, place in self.places.items()}
            for name, place in self.places.items():
                self._layer(place, readings.get(name))
            self._norms()
        self._tell_functional()
        means = self._means()
        record = Quantization(
            self.layers,
            self.affines,
            self._idle(),
            self._factors(),
            self.attributes,
            means,
            tuple(self.left),
            self.options.ranges,
            self.options.power_of_two,
        )
        object.__setattr__(self.model, RECORD, record)
        return self.model.train() if trained else self.model.eval().requires_grad_(False)

    # What is read
    # ---------------------------------------------------------------------------------------------

    def _reading(self, place: Place) -> Reading | None:
        """None where the layer stays."""
        if place.reading is not None:
            return place.reading
        found = reading_of(place.module, self.seen[place.module], self.options.ranges)
        if found.low and place.window is not None and place.window.transposed:
            self.left.append(
                f"{place.module}: a transposed convolution that reads real values below zero; "
                "put a neuron in front of it"
            )
            return None
        made = made_by(self.graph, place, self.places)
        if found.low and made is not None:
            self._tensors(made)[1].sub_(found.low)  # the layer before gives its values above zero
            return Reading(found.unit, found.levels, 0.0, found.low)
        return found

    def _tensors(self, place: Place) -> tuple[Tensor, Tensor]:
        """The weight and the bias of a place, which gets one where it had none."""
        owner = self.model.get_submodule(place.module)
        weight = cast(Tensor, owner.weight)
        if getattr(owner, "bias", None) is None:
            owner.bias = nn.Parameter(
                weight.new_zeros(_outputs(place, weight)), requires_grad=False
            )
        return weight, cast(Tensor, owner.bias)

    # Layers
    # ----------------------------------------------------------------------------------------------

    def _layer(self, place: Place, reading: Reading | None) -> None:
        if reading is None:
            return
        bits, kind = self._bits(place), "first" if place.first else "last" if place.last else "all"
        weight, bias = self._tensors(place)
        rows, square, mean = self._rows(place, weight.double())
        step = weight_steps(
            rows, bits, reading.levels, square, self.options.ranges, self.options.power_of_two
        )
        step = (step * reading.unit).float().double() / reading.unit  # as the scale holds it
        integers = rounded(rows, step, bits)
        shift = (
            ((rows - integers * step[:, None]) * mean).sum(1)
            if self.options.ranges == "mse"
            else torch.zeros_like(step)
        )
        bias, rest = bias.double() + shift, (bits, reading, place.window)
        made: nn.Module
        if self.trained:
            made = TrainedLayer(weight.float(), step.float(), bias.float(), *rest)
        else:
            bias = bias + reading.offset * integers.sum(1) * step
            scale = (step * reading.unit).float()
            made = QuantizedLayer(_as_weight(integers, weight, place), scale, bias.float(), *rest)
        put(self.model, place.module, made.to(weight.device))
        self.layers[place.module] = LayerRecord(
            bits, tuple(weight.shape), len(step), reading, place.window, kind
        )

    def _bits(self, place: Place) -> int:
        if isinstance(self.options.weight_bits, int):
            return (
                max(self.options.weight_bits, BITS_AT_THE_ENDS)
                if place.first or place.last
                else self.options.weight_bits
            )
        for pattern, bits in self.options.weight_bits.items():
            if fnmatch.fnmatchcase(place.module, pattern):
                return bits
        raise InputError(f'no pattern of weight_bits fits {place.module}; add "*" for all others')

    def _rows(self, place: Place, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weights as [out, n], and of what each of them is multiplied by the mean square and
        the mean.
        """
        seen, window = self.seen[place.module], place.window
        taps = weight[0, 0].numel()
        groups = 1 if window is None else window.groups
        if window is not None and window.transposed:
            weight = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
        per_output = [
            values.view(groups, -1)
            .repeat_interleave(taps, 1)
            .repeat_interleave(len(weight) // groups, 0)
            for values in (seen.square, seen.mean)
        ]
        return weight.flatten(1), per_output[0], per_output[1]

    # What else
    # ----------------------------------------------------------------------------------------------

    def _norms(self) -> None:
        """Batch norms that no layer took become a factor and a shift, one rounding each."""
        for node in self.graph.find("batchnorm"):
            alone = node.module and contents(self.graph, node.module) <= {
                other.id for other in self.graph.find("batchnorm") if other.module == node.module
            }
            if not alone or constant_shape(self.graph, node) is None:
                self.left.append(
                    f"{name_of(node)}: a batch norm inside a forward; use nn.BatchNorm2d"
                )
            elif node.module not in self.affines:
                factor, shift = self.values.affine(node)
                put(
                    self.model,
                    node.module,
                    ChannelAffine(factor.float(), torch.as_tensor(shift).float()),
                )
                self.affines[node.module] = len(factor)

    def _means(self) -> tuple[str, ...]:
        found = tuple(
            name for name, module in self.model.named_modules() if hasattr(module, "ordered")
        )
        for name in found:
            put(self.model, name, cast(Any, self.model.get_submodule(name)).ordered())
        for node in self.graph:
            if node.op in ("mean", "sum") and node.module not in found and self._rounds(node):
                self.left.append(
                    f"{name_of(node)}: a {node.op} of real values inside a forward, whose order "
                    "PyTorch "
                    "does not state; take it with spikedriven.layers.SpatialMean or TimeMean"
                )
        return found

    def _rounds(self, node: Node) -> bool:
        """Whether the order of the sum matters: real values, more than two. Along the first axis,
        which is time, PyTorch adds step by step.
        """
        source = self.graph[node.data]
        dims, terms = (
            node.attrs.get("dim"),
            torch.Size(source.shape).numel() // max(torch.Size(node.shape).numel(), 1),
        )
        over_time = dims in (0, [0]) and terms <= STEPS_IN_ORDER
        return (
            kinds.is_real(source.kind)
            and kinds.span(source.kind) is None
            and terms > 2
            and not over_time
        )

    def _tell_functional(self) -> None:
        for node in functional_weights(self.graph, list(self.places.values())):
            why = f"{node.op} with weights inside a forward; use a module such as nn.Conv2d"
            self.left.append(f"{name_of(node)}: {why}")

    # What folding did
    # -----------------------------------------------------------------------------------------

    def _idle(self) -> tuple[str, ...]:
        before = dict(self.before.named_modules())
        return tuple(
            name for name, module in self.model.named_modules()
            if isinstance(module, Idle) and not isinstance(before.get(name), Idle)
        )  # fmt: skip

    def _factors(self) -> dict[str, float]:
        """What each neuron's input is multiplied by now."""
        before, found = neurons_of(self.before), {}
        for name, neuron in neurons_of(self.model).items():
            old, new = before[name].spec(), neuron.spec()
            if old is not None and new is not None and old.threshold != new.threshold:
                found[name] = factor_between(before[name], neuron)
        return found


def factor_between(before: nn.Module, after: nn.Module) -> float:
    """The factor that `rescale` was called with."""
    old, new = (getattr(neuron, "options", neuron) for neuron in (before, after))
    names = ("v_threshold", "threshold")
    pairs = [(getattr(old, name), getattr(new, name)) for name in names if hasattr(old, name)]
    return pairs[0][1] / pairs[0][0]


def _folded(model: nn.Module, batch: Any) -> tuple[nn.Module, tuple[Any, ...]]:
    """A folded copy, and the attributes that are 1 now."""
    plan = plan_of(exact_copy(model), check_input(model, first_of(batch, 2)), "apart")
    folded = copy.deepcopy(model).eval()
    carry_out(plan, folded)
    wanted = set(plan.removable.values())
    done = [attribute for attribute in wanted if _is_one(folded, attribute)]
    return folded, tuple(sorted(done, key=str))


def _is_one(model: nn.Module, attribute: Any) -> bool:
    value = getattr(model.get_submodule(attribute.module), attribute.name)
    return (value if attribute.index is None else value[attribute.index]) == 1.0


def _outputs(place: Place, weight: Tensor) -> int:
    window = place.window
    return (
        weight.shape[1] * window.groups if window is not None and window.transposed else len(weight)
    )


def _as_weight(rows: Tensor, like: Tensor, place: Place) -> Tensor:
    """Rows [out, n] in the form of the weight."""
    window = place.window
    if window is None or not window.transposed:
        return rows.view(like.shape)
    groups = window.groups
    turned = rows.view(-1, len(like) // groups, *like.shape[2:])
    return turned.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
