"""Starting weights for finer neurons: integer neurons that counted to D go on counting to a
multiple of D.

    python tools/finer_counts.py RUN 8 WEIGHTS.safetensors

RUN: a run folder of an E-SpikeFormer. 8: the new D. Every real value of the network, and hence what
its neurons round, grows by 8 / D; what a neuron hands on, counts divided by D, stays where it was,
on a finer grid. Nothing has to be learned again. X
"""

import argparse
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from spikedriven.errors import InputError
from spikedriven.files import replace_file
from spikedriven.layers import ConvBN, SpikingSelfAttention
from spikedriven.models.e_spikeformer import ESpikeFormer
from spikedriven.runs.checkpoint import load_run


def finer(model: ESpikeFormer, levels: int) -> dict[str, Tensor]:
    """The state of ``model`` for neurons that count to ``levels``."""
    factor = levels / model.head_neuron.levels
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, ConvBN):
                module.bn.weight *= factor
                module.bn.bias *= factor
        if model.head_input == "spikes":  # undivided counts
            model.head.weight /= factor
    return model.state_dict()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run")
    parser.add_argument("levels", type=int)
    parser.add_argument("weights", type=Path)
    options = parser.parse_args()
    model, _ = load_run(options.run)
    if not isinstance(model, ESpikeFormer):
        raise InputError(
            f"{options.run}: expected a run of an E-SpikeFormer, found {type(model).__name__}"
        )
    scales = {m.scale.factor for m in model.modules() if isinstance(m, SpikingSelfAttention)}
    factor = options.levels / model.head_neuron.levels
    replace_file(options.weights, safetensors.torch.save(finer(model, options.levels)))
    print(
        f"{options.weights}: levels {options.levels}, attention_scale "
        f"{', '.join(str(s * factor) for s in scales)}"
    )


if __name__ == "__main__":
    main()
