"""Freed memory stays with the process: fresh pages from the system cost more than computing what is put there."""

import ctypes

#: Options of glibc's mallopt, and the largest value they take.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _LARGEST = -1, -3, 2**31 - 1


def keep_freed_memory() -> bool:
    """Let the C library keep what training frees for the next step, instead of giving each large tensor back.

    By default glibc maps every tensor of more than 32 MB (at first: 128 KB) anew, and the system zeroes its pages at
    the first touch. For the whole process. Returns whether the C library has the setting; others are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all([mallopt(_MMAP_THRESHOLD, _LARGEST), mallopt(_TRIM_THRESHOLD, _LARGEST)])
