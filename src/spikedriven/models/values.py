"""Whether a stored tensor can become a weight of a network without changing what it says, and the
weight itself."""

import torch
from torch import Tensor, nn

#: Every value of these is a value of float32, but for float64, which is rounded.
FLOATS = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16,
    torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz,
)  # fmt: skip
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def why_not_plain(value: Tensor) -> str:
    """What keeps a tensor from being a weight, whatever the network; "" for a plain one: real
    numbers, all stored."""
    reasons = {
        "a parameter that was never initialised": nn.parameter.is_lazy(value),
        "a nested tensor": value.is_nested,
        "a quantized tensor": value.is_quantized,
        f"a sparse or opaque tensor ({value.layout})": value.layout is not torch.strided,
        "a tensor without values (device meta)": value.is_meta,
        f"a {type(value).__name__}": type(value) not in (Tensor, nn.Parameter),
        "complex numbers": value.is_complex(),
        f"numbers of type {value.dtype}": value.dtype not in (*FLOATS, *INTEGERS, torch.bool),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def with_map_axes(value: Tensor, target: Tensor, linear: bool = False) -> Tensor:
    """[out, in, 1] -> [out, in, 1, 1] and back: a 1x1 convolution over tokens is one over the map.

    linear: the value is the weight of a linear layer, [out, in], which is one too.
    """
    if linear and target.shape == (*value.shape, 1, 1) and value.ndim == 2:
        return value[..., None, None]
    if target.shape == (*value.shape, 1) and value.ndim == 3 and value.shape[-1] == 1:
        return value.unsqueeze(-1)
    if value.shape == (*target.shape, 1) and target.ndim == 3 and target.shape[-1] == 1:
        return value.squeeze(-1)
    return value


def as_weight(value: Tensor, target: Tensor) -> tuple[Tensor, str]:
    """A plain tensor in the number format of a weight, and what is wrong with its values ("" if
    nothing).

    Floating point is rounded to the weight's format. An integer weight (a counter) takes the same
    integers from any format. Nothing else is converted: integers are no weights, for their scale is
    not in the file.
    """
    value = (
        value.float() if value.is_floating_point() and value.itemsize == 1 else value
    )  # exact; 8 bits lack operators
    if value.is_floating_point() and not value.isfinite().all():
        return value, "NaN or infinite values"
    if value.is_floating_point() != target.is_floating_point() and not _is_counter(value, target):
        return value, f"numbers of type {value.dtype} where the network has {target.dtype}"
    if (value.dtype == torch.bool) != (target.dtype == torch.bool):
        return value, f"numbers of type {value.dtype} where the network has {target.dtype}"
    converted = value.to(target.dtype)
    if target.is_floating_point():
        return converted, "" if bool(
            converted.isfinite().all()
        ) else f"values too large for {target.dtype}"
    same = (converted.to(value.dtype) == value) & ((converted < 0) == (value < 0))
    return converted, "" if bool(same.all()) else f"values that {target.dtype} has not"


def _is_counter(value: Tensor, target: Tensor) -> bool:
    """num_batches_tracked, which averages and half-precision copies of a state dict hold as a
    floating-point number."""
    return value.is_floating_point() and target.dtype in INTEGERS
