"""The toy run in a forked process that kills itself: before any line of the training package, or
before any change of its files.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch

import spikedriven.training
from tests.training.toys import toy_recipe, train

PACKAGE = str(Path(spikedriven.training.__file__).parent)
#: Python's audit events of whatever changes a folder.
CHANGES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}


def in_child(work: Callable[[], Any]) -> int:
    """Run `work` in a fork of this process; returns its wait status (0: it returned)."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            # PyTorch makes its pool of threads anew at the first use after a fork. Where
            # torch.compile ran before, threads of autograd would do so all at once, and one of them
            # find none ("Invalid thread pool").
            torch.set_num_threads(torch.get_num_threads())
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


def toy_run(folder: Path, **run: Any) -> None:
    """18 steps, an evaluation after each 6, a checkpoint after each 4 and after each evaluation."""
    settings = {"ema": 0.9, "checkpoint_steps": 4, "keep": 1, **run}
    train(toy_recipe(settings, dropout=0.5), folder, resume=True)


def counting_lines(found: Callable[[int], None]) -> None:
    """From now on `found(n)` is called before the n-th line of the training package that this
    process runs.
    """
    count = 0

    def local(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        if event == "line":
            count += 1
            found(count)
        return local

    sys.settrace(
        lambda frame, _event, _argument: (
            local if frame.f_code.co_filename.startswith(PACKAGE) else None
        )
    )


def counting_changes(folder: Path, found: Callable[[int], None]) -> None:
    """From now on `found(n)` is called before the n-th change of files below `folder`. Cannot be
    taken back: for a process of its own.
    """
    count = 0

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if (
            event in CHANGES
            and str(arguments[0]).startswith(str(folder))
            and _writes(event, arguments)
        ):
            count += 1
            found(count)

    sys.addaudithook(audit)


def _writes(event: str, arguments: tuple[Any, ...]) -> bool:
    return event != "open" or bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR))


def kill_at(moment: int) -> Callable[[int], None]:
    """What kills this process when it is called with `moment`."""

    def found(count: int) -> None:
        if count == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    return found
