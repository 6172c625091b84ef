"""What `graph.fuse` puts in the place of folded modules."""

from torch import Tensor, nn


class FoldedConv(nn.Conv2d):
    """One convolution with bias, on maps with any leading axes. [..., in, H, W] -> [..., out,
    H', W'].
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 4:
            return super().forward(x)
        return super().forward(x.flatten(0, -4)).unflatten(0, x.shape[:-3])


class FoldedConv1d(nn.Conv1d):
    """One convolution with bias, on sequences with any leading axes. [..., in, N] -> [..., out,
    N'].
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 3:
            return super().forward(x)
        return super().forward(x.flatten(0, -3)).unflatten(0, x.shape[:-2])


#: By the number of axes that the kernel has.
FOLDED_CONVS: dict[int, type[nn.Conv1d | nn.Conv2d | nn.Conv3d]] = {
    1: FoldedConv1d,
    2: FoldedConv,
    3: nn.Conv3d,
}


class Idle(nn.Identity):
    """Stands where a module was whose arithmetic has gone elsewhere: hands on its first
    argument.
    """

    def forward(self, x: Tensor, *_: object) -> Tensor:
        return x
