"""The network of a run with `quant`: trained weights, quantized, in the form that goes on
learning.
"""

from pathlib import Path

from torch import nn

from spikedriven.graph.quantization import record_of
from spikedriven.graph.quantize import trainable_copy
from spikedriven.layers.quantized_training import TrainedLayer
from spikedriven.models.official import LoadReport
from spikedriven.recipes.types import Recipe
from spikedriven.runs.distributed import World
from spikedriven.runs.quantized import calibration_images, read_record, write_record
from spikedriven.training.learner import started


def quantized_network(
    net: nn.Module, recipe: Recipe, run: Path, world: World, *, fresh: bool
) -> tuple[nn.Module, LoadReport | None]:
    """The network to train, and what its starting weights gave. fresh: begin with those of
    `model.init`; else the run's record says what the network is, and a checkpoint brings its
    weights.
    """
    quant = recipe.quant
    taken = None
    if fresh:
        taken = started(net, recipe, recipe.model.init or "")
        images = calibration_images(recipe.data, quant.images)
        net = trainable_copy(
            net, images, quant.weight_bits, ranges=quant.ranges, power_of_two=quant.power_of_two
        )
        record = record_of(net)
        assert record is not None
        if world.is_main:
            write_record(run, record)
    else:
        read_record(run).apply(net, trained=True)
    for module in net.modules():
        if isinstance(module, TrainedLayer):
            module.step.requires_grad_(quant.learn_steps)
    return net, taken
