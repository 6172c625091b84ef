"""Errors a user can act on. Each message says what was found, what was expected and what to do."""


class SpikedrivenError(Exception):
    """Base of every error raised on purpose; the command line prints it as one message, without a traceback."""


class InputError(SpikedrivenError, ValueError):
    """A tensor or an argument has the wrong shape, type or value."""


class DataError(SpikedrivenError):
    """A data set, a folder or a file is missing, empty or broken."""


class RecipeError(SpikedrivenError, ValueError):
    """A recipe names an unknown field, or gives a value that cannot be used."""


class CheckpointError(SpikedrivenError):
    """A checkpoint cannot be read, is unsafe to read, or does not fit the model."""
