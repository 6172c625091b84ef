"""Event cameras: events in memory, the readers of their files, frames, event sets and their
loaders.
"""

from spikedriven.data.events.events import Events
from spikedriven.data.events.files import Told, read_events, stream_events
from spikedriven.data.events.npz import save_events

__all__ = ["Events", "Told", "read_events", "save_events", "stream_events"]
