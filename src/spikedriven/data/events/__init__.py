"""Event cameras: events in memory, the readers of their files, frames, event sets and their loaders."""

from spikedriven.data.events.events import Events

__all__ = ["Events"]
