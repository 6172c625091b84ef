"""One picture through the network: prediction, spikes, attention, energy, latency, as plain
values for the page.
"""

import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from spikedriven.demo.latency import latency
from spikedriven.demo.network import DemoNetwork
from spikedriven.demo.spikes import recorded_spikes
from spikedriven.errors import SpikedrivenError
from spikedriven.graph.conventions import CONVENTIONS, TECHNOLOGIES, Technology
from spikedriven.graph.energy import EnergyReport, cost
from spikedriven.graph.measurement import measure
from spikedriven.report.attention import FiringMap, attention_blocks, firing_maps
from spikedriven.report.images import data_uri, overlay, picture

#: Prices of operations that the page compares.
PRICES = ("fp32", "int8")


#: Pictures that may wait for their turn, and for how long.
MOST_WAITING, LONGEST_WAIT_S = 256, 30


class BusyError(SpikedrivenError):
    """The server has more to do than it can answer; its message is for the page."""


class Inference:
    """Runs pictures one at a time, in one thread of its own: timings do not disturb each other, and
    PyTorch's threads, which belong to the thread that calls it, are not started anew for every
    request.

    threads: for PyTorch and for the engine alike; None: as many as the engine takes by itself.
    """

    def __init__(self, network: DemoNetwork, threads: int | None = None) -> None:
        self.network = network
        self._closed = False
        self._places = threading.Semaphore(MOST_WAITING)
        network.program.threads = threads or network.program.threads
        self._worker = ThreadPoolExecutor(
            1, "inference", torch.set_num_threads, (network.program.threads,)
        )

    def classify(self, pixels: np.ndarray) -> dict[str, Any]:
        """uint8 [28, 28], grey -> what the page shows. Waits for its turn; BusyError where too many
        do, where that takes too long, and where the server ends.
        """
        if not self._places.acquire(blocking=False):
            raise BusyError(f"{MOST_WAITING} pictures wait already; ask again later")
        try:
            waiting = self._worker.submit(self._classify, pixels)
            return waiting.result(LONGEST_WAIT_S)
        except TimeoutError:
            waiting.cancel()
            raise BusyError(f"no turn within {LONGEST_WAIT_S} s; ask again later") from None
        except (CancelledError, RuntimeError) as error:
            if self._closed:
                raise BusyError("the server was stopped") from error
            raise
        finally:
            self._places.release()

    def close(self) -> None:
        """Finish the picture at hand and forget the ones that wait."""
        self._closed = True
        self._worker.shutdown(cancel_futures=True)

    def _classify(self, pixels: np.ndarray) -> dict[str, Any]:
        network = self.network
        x = network.prepared(Image.fromarray(pixels))
        with torch.inference_mode(), recorded_spikes(network.model) as layers:
            means = running_means(network.model, x)
        engine = network.program(x)
        return {
            "shares": means.softmax(-1).tolist(),
            "predicted": int(means[-1].argmax()),
            "engine_predicted": int((engine.mean(0) if engine.ndim == 3 else engine).argmax()),
            "layers": [layer.to_dict() for layer in layers],
            "attention": attention(network, x),
            "energy": energy(network, x),
            "latency": latency(network, x),
        }


def running_means(model: Any, x: Tensor) -> Tensor:
    """Mean logits after each time step, [T, K], for one image; the last row is what the model
    answers.
    """
    logits = model.head_forward(model.forward_features(x).mean(dim=(-2, -1)))[:, 0]
    return torch.stack([logits[: t + 1].mean(0) for t in range(len(logits))])


def attention(network: DemoNetwork, x: Tensor) -> list[dict[str, Any]]:
    """The maps of the report page; empty for a network without attention blocks."""
    if not attention_blocks(network.model):
        return []
    image = picture(x[0], *network.data.normalization())
    return [_drawn(image, one) for one in firing_maps(network.model, x)]


def _drawn(image: np.ndarray, one: FiringMap) -> dict[str, Any]:
    largest = float(one.rates.max())
    images = [data_uri(overlay(image, rates, largest)) for rates in one.rates]
    return {
        "name": one.label,
        "largest": largest,
        "means": one.rates.mean((1, 2)).tolist(),
        "images": images,
    }


def energy(network: DemoNetwork, x: Tensor) -> dict[str, Any]:
    """Of this very image, under every convention that counts arithmetic; layers under the first
    one.
    """
    measurement = measure(network.graph, x)
    rules = [rule for rule in CONVENTIONS.values() if rule.memory is None]
    reports = {rule.name: {p: cost(measurement, rule.name, p) for p in PRICES} for rule in rules}
    first: EnergyReport = reports["sdt"]["fp32"]
    return {
        "conventions": [_convention(prices) for prices in reports.values()],
        "prices": {name: _price(TECHNOLOGIES[name]) for name in PRICES},
        "equal_ann_mj": {
            "fp32": first.comparison.ann_mj,
            "int8": first.comparison.quantised_ann_mj,
        },
        "layers": [
            {
                "name": row.name,
                "op": row.op,
                "rate": row.rate,
                "picojoule": row.picojoule,
                "formula": row.formula,
            }
            for row in first.rows
        ],
    }


def _price(prices: Technology) -> dict[str, Any]:
    return {"mac_pj": prices.mac_pj, "ac_pj": prices.ac_pj, "source": prices.source}


def _convention(prices: dict[str, EnergyReport]) -> dict[str, Any]:
    rule = prices["fp32"].convention
    return {
        "name": rule.name,
        "formula": rule.formula,
        "source": rule.source,
        "macs": prices["fp32"].macs,
        "acs": prices["fp32"].acs,
        "mj": {name: report.total_mj for name, report in prices.items()},
    }
