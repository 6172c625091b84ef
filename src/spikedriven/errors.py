"""Errors a user can act on. Each message says what was found, what was expected and what to do."""

import difflib
from collections.abc import Iterable


class SpikedrivenError(Exception):
    """Base of every error raised on purpose; the command line prints it as one message, without
    a traceback.
    """


class InputError(SpikedrivenError, ValueError):
    """A tensor or an argument has the wrong shape, type or value."""


class DataError(SpikedrivenError):
    """A data set, a folder or a file is missing, empty or broken."""


class RecipeError(SpikedrivenError, ValueError):
    """A recipe names an unknown field, or gives a value that cannot be used."""


class CheckpointError(SpikedrivenError):
    """A checkpoint cannot be read, is unsafe to read, or does not fit the model."""


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """For the end of a message about an unknown name: the closest known names, else all of them."""
    names = list(known)
    close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names)}"


class FoldWarning(UserWarning):
    """`fuse` left a batch norm or a constant factor where it is; the message lists each place
    and what to write.
    """
