"""Random draws that are functions of named numbers (seed, epoch, sample index), never of what was
drawn before.

timm and torchvision draw from three global generators (Python's `random`, NumPy's, torch's CPU
one). Inside `isolated_generators()` they may be reseeded freely with `reseed`; on leaving, all
three are as they were before.
"""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part and on their order; the same on every machine
    and Python version.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def reseed(*parts: int | str) -> None:
    """Seeds the three global CPU generators from `derive_seed(*parts)`; use it inside
    `isolated_generators()`.
    """
    seed = derive_seed(*parts)
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    # torch.manual_seed would also reseed the accelerators, whose generators belong to the training
    # loop.
    torch.default_generator.manual_seed(seed)


@contextmanager
def isolated_generators() -> Iterator[None]:
    """Gives the three global CPU generators back in the state in which they came, also after an
    error.
    """
    states = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.default_generator.set_state(states[2])


def permutation(length: int, *parts: int | str) -> torch.Tensor:
    """A permutation of 0..length-1 (int64 `[length]`) that depends on `parts` only."""
    generator = torch.Generator().manual_seed(derive_seed(*parts))
    return torch.randperm(length, generator=generator)
