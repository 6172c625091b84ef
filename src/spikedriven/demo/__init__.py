"""A page on this machine where one draws a garment and watches a network classify it, spike by
spike.
"""

from spikedriven.demo.inference import Inference
from spikedriven.demo.network import DemoNetwork, open_network
from spikedriven.demo.server import DemoServer

__all__ = ["DemoNetwork", "DemoServer", "Inference", "open_network"]
