"""Programs inside of a model that goes on running in PyTorch.

A detector is no single program: between its layers boxes are chosen, and how many there are depends
on the image. Such a model has a method ``compiled(make)``. It returns a copy of itself in which
``make(module)`` stands for each module with weights; everything between stays as it is.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from spikedriven.engine.running import Program

#: (module, example inputs) -> program.
Compile = Callable[[nn.Module, tuple[Tensor, ...]], Program]


class CompiledPart(nn.Module):
    """A module as programs, one for each size of its inputs, made when that size is first seen.

    Inputs have the batch as their first axis. programs: by the shapes of the inputs without the
    batch. The module is kept, for sizes that are still to come.
    """

    original: nn.Module

    def __init__(self, module: nn.Module, compile_part: Compile) -> None:
        super().__init__()
        self.__dict__["original"] = module.eval()  # no child: its weights are none of this one's
        self.compile_part = compile_part
        self.programs: dict[tuple[torch.Size, ...], Program] = {}

    def forward(self, *inputs: Tensor) -> Any:
        """What the module gives, up to the rounding of its weights to integers."""
        sizes = tuple(x.shape[1:] for x in inputs)
        if sizes not in self.programs:
            self.programs[sizes] = self.compile_part(self.original, inputs)
        with torch.no_grad():
            return self.programs[sizes](*inputs)

    def extra_repr(self) -> str:
        return f"{len(self.programs)} programs of {type(self.original).__name__}"
