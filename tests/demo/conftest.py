"""Two small networks behind a server each: LIF neurons over two steps at 16 pixels, integer
neurons at 28.
"""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from spikedriven.cli import main
from spikedriven.demo import DemoNetwork, DemoServer, Inference, open_network
from tests.built import build_run

#: One step on a few of the images: what the networks then weigh is built.
SHORT = [
    "--data.val-fraction", "0.98", "--schedule.epochs", "2", "--schedule.warmup-epochs", "0.5",
    "--run.eval-epochs", "2", "--run.max-steps", "1",
]  # fmt: skip
RECIPES = {"lif <b>": ["quickstart", "--data.img-size", "16"], "integer": ["study_sfa_1x4"]}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("demo")
    for name, words in RECIPES.items():
        assert main(["train", *words, *SHORT, "--run.out", str(folder / name)]) == 0
        build_run(folder / name)
    return {"lif": folder / "lif <b>", "integer": folder / "integer"}


@pytest.fixture(scope="session")
def networks(runs: dict[str, Path]) -> dict[str, DemoNetwork]:
    return {name: open_network(str(path)) for name, path in runs.items()}


@pytest.fixture(scope="session")
def servers(networks: dict[str, DemoNetwork]) -> Iterator[dict[str, DemoServer]]:
    started = {
        name: DemoServer(Inference(network, threads=1), port=0)
        for name, network in networks.items()
    }
    for server in started.values():
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
    yield started
    for server in started.values():
        server.shutdown()
        server.server_close()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    server: DemoServer, method: str, path: str, body: bytes = b"", **headers: str | None
) -> Answer:
    """One request with exactly these headers; ``_`` stands for ``-``; host and content_length have
    sensible defaults, None leaves them out.
    """
    port = server.server_address[1]
    defaults: dict[str, str | None] = {"host": f"127.0.0.1:{port}"}
    if method == "POST":
        defaults |= {"content_length": str(len(body)), "content_type": "application/json"}
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in {**defaults, **headers}.items():
        if value is not None:
            connection.putheader(name.replace("_", "-"), value)
    connection.endheaders(body)
    response = connection.getresponse()
    answer = Answer(response.status, dict(response.getheaders()), response.read())
    connection.close()
    return answer
