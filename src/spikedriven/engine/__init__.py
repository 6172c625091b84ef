"""The event-driven CPU engine: a network as integer additions of the rows of weights whose input fired."""

from spikedriven.engine.compiled import Program, compile
from spikedriven.engine.file import load_program

__all__ = ["Program", "compile", "load_program"]
