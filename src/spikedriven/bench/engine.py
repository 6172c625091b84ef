"""`spikedriven bench engine` for one network: its program, and every other way to run it on a
CPU.
"""

from collections.abc import Mapping

from spikedriven.bench.contest import Result, Tell, run_contestants
from spikedriven.bench.contestants import Contestant, Task
from spikedriven.bench.subject import Subject, load_inputs
from spikedriven.errors import InputError

REFERENCE = "engine"


def measure(
    subject: Subject,
    contestants: Mapping[str, Contestant],
    threads: int = 2,
    batch: int = 1,
    rounds: int = 30,
    tell: Tell = lambda _text: None,
) -> list[Result]:
    """Results in the order of ``contestants``. One that is not installed or fails has a row that
    says so.

    threads: for each contestant. batch: images per call; it divides the inputs into the batches
    that rounds go through.
    """
    inputs, expected = load_inputs(subject.folder)
    if not 1 <= batch <= len(inputs) or threads < 1 or rounds < 1:
        raise InputError(
            f"found threads {threads}, rounds {rounds}, batch {batch}: expected at least 1 of "
            "each, and a batch of at "
            f"most {len(inputs)}, the number of inputs"
        )
    return run_contestants(
        Task(subject.folder, threads, batch), contestants, expected, rounds, REFERENCE, tell
    )
