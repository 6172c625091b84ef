"""The event-driven CPU engine: a network as integer additions of the rows of weights whose input fired."""

from spikedriven.engine.compiled import Program, compile

__all__ = ["Program", "compile"]
