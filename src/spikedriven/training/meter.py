"""Speed and loss of the steps since the last log line; evaluation and saving are not counted as
training time.
"""

import time


class Meter:
    def __init__(self) -> None:
        self.restart()
        self.start_window()
        self._per_step = 0.0

    def restart(self) -> None:
        """Start the clock of the next step now."""
        self._mark = time.perf_counter()

    def start_window(self) -> None:
        """Forget the figures; the next step begins a new window."""
        self._losses, self._samples, self._seconds = 0.0, 0, 0.0
        self._steps = 0

    def add(self, loss: float, samples: int) -> None:
        """A step has ended."""
        now = time.perf_counter()
        self._seconds += now - self._mark
        self._mark = now
        self._losses += loss
        self._samples += samples
        self._steps += 1
        self._per_step = self._seconds / self._steps

    def loss(self) -> float:
        return self._losses / max(1, self._steps)

    def rate(self) -> float:
        """Samples per second over all processes."""
        return self._samples / max(1e-9, self._seconds)

    def seconds_left(self, steps: int) -> float:
        return self._per_step * steps
