"""Random mistakes in bytes, and a limit on the time that a test may take."""

import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Whole numbers that headers of files would rather not hold.
EXTREMES = (
    b"\x00" * 4,
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x80" + b"\x00" * 3,
    b"\x00\x01" * 2,
)


def with_wrong_bytes(
    data: bytes, draws: random.Random, letters: bytes = bytes(range(256))
) -> bytes:
    """Some bytes changed, left out, doubled, put in, or the end cut off. letters: what is put
    in.
    """
    found = bytearray(data)
    for _ in range(draws.choice((1, 2, 8))):
        # headers are at the front: half of the mistakes are there
        at = draws.randrange(min(len(found), draws.choice((64, len(found) or 1))) + 1)
        length = draws.choice((1, 1, 2, 16, 300))
        piece = bytes(draws.choice(letters) for _ in range(length))
        doubled = bytes(found[at : at + length] * 2)
        found[at : at + draws.choice((0, length))] = draws.choice(
            (piece, draws.choice(EXTREMES), doubled, b"")
        )
    return bytes(found[: draws.randrange(len(found) + 1)] if draws.random() < 0.1 else found)


@contextmanager
def no_longer_than(seconds: int) -> Iterator[None]:
    """A test that hangs fails. Not an OSError, which the code under test may expect.

    seconds: of this process's processor time, so that a busy machine fails nothing; or 20 times
    that by the clock, for what waits and computes nothing.
    """

    def stop(_number: int, _frame: Any) -> None:
        raise AssertionError(f"more than {seconds} seconds")

    previous = {number: signal.signal(number, stop) for number in (signal.SIGPROF, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.alarm(20 * seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        for number, handler in previous.items():
            signal.signal(number, handler)
