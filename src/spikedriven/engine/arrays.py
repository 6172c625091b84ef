"""NumPy arrays and torch tensors at the doors of a program. Torch is never imported here: who
hands in one has it.
"""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: A NumPy array or a torch tensor.
Values = Any


def is_tensor(x: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def is_real(x: Any) -> bool:
    """Whether it is a tensor or an array of floating point values."""
    if is_tensor(x):
        return bool(x.is_floating_point())
    return isinstance(x, np.ndarray) and np.issubdtype(x.dtype, np.floating)


def described(x: Any) -> str:
    return (
        f"{x.dtype} {list(x.shape)}"
        if is_tensor(x) or isinstance(x, np.ndarray)
        else type(x).__name__
    )


def as_array(x: Values) -> NDArray[np.float32]:
    """Float32 values on the CPU; a view where the type allows it."""
    if is_tensor(x):
        array: NDArray[np.float32] = x.detach().to("cpu", sys.modules["torch"].float32).numpy()
        return array
    return np.asarray(x, dtype=np.float32)


def given_back(array: NDArray[Any], tensor: bool) -> Values:
    """An array in the form that the caller used."""
    return sys.modules["torch"].from_numpy(array) if tensor else array
