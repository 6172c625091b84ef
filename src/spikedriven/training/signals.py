"""Ctrl-C and SIGTERM as a flag that the loop reads between steps; a second Ctrl-C stops at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopFlag:
    """`signal_number` is 0 until the process was asked to stop."""

    def __init__(self) -> None:
        self.signal_number = 0

    def handle(self, number: int, _frame: FrameType | None) -> None:
        if self.signal_number and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal_number = number


@contextmanager
def stop_flag() -> Iterator[StopFlag]:
    """Catch SIGINT and SIGTERM within the block (in the main thread; elsewhere Python does not
    allow it, and nothing is caught).
    """
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    previous = {
        number: signal.signal(number, flag.handle) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield flag
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
