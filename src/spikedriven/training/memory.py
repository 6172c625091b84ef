"""What training on a CPU does with the process's memory: what is freed stays, large tensors have
their own place.

Fresh pages from the system cost more than computing what is put there.
"""

import ctypes

from spikedriven.training.arena import use_arena

#: Options of glibc's mallopt, and the largest value they take.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _LARGEST = -1, -3, 2**31 - 1


def keep_memory() -> str:
    """Both, for the whole process; called before the tensors of training are made. Returns
    where large tensors go.
    """
    kept = keep_freed_memory()
    why_not = use_arena()
    if why_not is None:
        return "arena"
    return f"heap of the C library{'' if kept else ', which gives freed memory back'} ({why_not})"


def keep_freed_memory() -> bool:
    """Let the C library keep what training frees for the next step, instead of giving each large
    block back.

    By default glibc maps every block of more than 32 MB (at first: 128 KB) anew, and the system
    zeroes its pages at the first touch. For the whole process. Returns whether the C library has
    the setting; others are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all([mallopt(_MMAP_THRESHOLD, _LARGEST), mallopt(_TRIM_THRESHOLD, _LARGEST)])
