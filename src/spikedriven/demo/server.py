"""The page's server: Python's own, on 127.0.0.1 only.

A web page open in the same browser could send requests here too. So a Host other than localhost is
refused (a name that someone points at 127.0.0.1), and so are another Origin and any body but JSON
(which a browser sends across origins only after asking). There are fixed routes and no files: no
path leads anywhere else.
"""

import errno
import json
import logging
import re
from importlib.resources import files
from typing import Any

import matplotlib
import numpy as np

from spikedriven.demo.connections import BoundedServer, DeadlineHandler
from spikedriven.demo.inference import BusyError, Inference
from spikedriven.demo.network import samples
from spikedriven.demo.pixels import read_pixels
from spikedriven.errors import InputError
from spikedriven.report.images import COLOURS
from spikedriven.training.signals import stop_flag

ADDRESS = "127.0.0.1"
HOST = re.compile(r"(localhost|127\.0\.0\.1)(:\d{1,5})?", re.IGNORECASE)
LARGEST_BODY = 16 * 1024
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src "
    "data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
#: Path -> package, file, type. The report's style sheet is the base of the page's own.
FILES = {
    "/": ("spikedriven.demo", "page/page.html", "text/html"),
    "/style.css": ("spikedriven.report", "style.css", "text/css"),
    "/page.css": ("spikedriven.demo", "page/page.css", "text/css"),
    **{
        f"/{name}.js": ("spikedriven.demo", f"page/{name}.js", "text/javascript")
        for name in ("page", "dom", "pad", "results", "costs", "spikes")
    },
}

logger = logging.getLogger(__name__)


class DemoServer(BoundedServer):
    """Answers for one network. port: 0 takes a free one. InputError where the port cannot be
    had.
    """

    timeout = 0.2  # how long `serve` waits for a request before it looks at its flag

    def __init__(self, inference: Inference, port: int) -> None:
        if not 0 <= port <= 65535:
            raise InputError(f"--port {port}: expected 0 (any free one) to 65535")
        self.inference = inference
        self.pages = {path: _page(*place) for path, place in FILES.items()}
        self.pages["/samples"] = (_json(_samples(inference)), "application/json")
        try:
            super().__init__((ADDRESS, port), Handler)
        except OSError as error:
            reason = (
                "is in use"
                if error.errno == errno.EADDRINUSE
                else f"cannot be had ({error.strerror})"
            )
            raise InputError(
                f"port {port} of {ADDRESS} {reason}; give another with --port, or --port 0 for a "
                "free one"
            ) from error

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.server_address[1]}/"

    def serve(self) -> None:
        """Until Ctrl-C or SIGTERM."""
        with stop_flag() as flag:
            while not flag.signal_number:
                self.handle_request()

    def finish_work(self) -> None:
        self.inference.close()


class Handler(DeadlineHandler):
    """One request, then the connection ends."""

    server: DemoServer
    server_version, sys_version = "spikedriven", ""

    def do_GET(self) -> None:  # noqa: N802  # as http.server calls it
        if not self._is_local():
            return
        if self.path in self.server.pages:
            self._answer(200, *self.server.pages[self.path])
        elif self.path == "/classify":
            self._refuse(405, "/classify takes a POST")
        else:
            self._refuse(404, "there is no such page")

    def do_POST(self) -> None:  # noqa: N802
        if not self._is_local():
            return
        if self.path != "/classify":
            self._refuse(404, "only /classify takes a POST")
            return
        try:
            content = self._body()
            pixels = None if content is None else read_pixels(content)
        except InputError as error:
            self._refuse(400, str(error))
        else:
            if pixels is not None:
                self._classify(pixels)

    def _classify(self, pixels: np.ndarray) -> None:
        try:
            answer = _json(self.server.inference.classify(pixels))
        except BusyError as error:
            self._refuse(503, str(error))
        except Exception:
            logger.exception("classifying failed")
            self._refuse(500, "the server failed; the reason is in the terminal where it runs")
        else:
            self._answer(200, answer, "application/json")

    def _is_local(self) -> bool:
        """Whether the request was made for this machine, by a page of this server or by no page."""
        hosts, origins = self.headers.get_all("Host", []), self.headers.get_all("Origin", [])
        if len(hosts) != 1 or not HOST.fullmatch(hosts[0]):
            self._refuse(403, f"this page answers to {ADDRESS} and localhost only")
            return False
        if origins and origins != [f"http://{hosts[0]}"]:
            self._refuse(403, "requests of other pages are refused")
            return False
        return True

    def _body(self) -> bytes | None:
        """Of a POST; None where it was refused unread, and answered. InputError where nothing
        says what it is.
        """
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,12}", length):
            raise InputError("the request does not say how long it is (Content-Length)")
        if self.headers.get_content_type() != "application/json":
            self._refuse(
                400,
                f"expected Content-Type application/json, found {self.headers.get_content_type()}",
            )
        elif int(length) > LARGEST_BODY:
            self._refuse(413, f"the request has {length} bytes; at most {LARGEST_BODY} are taken")
        else:
            return self.rfile.read(int(length))
        self.discard()
        return None

    def _refuse(self, status: int, message: str) -> None:
        self._answer(status, _json({"error": message}), "application/json")

    def _answer(self, status: int, content: bytes, kind: str) -> None:
        self.connection.settimeout(self.timeout)  # for all of the answer
        self.send_response(status)
        if status == 503:
            self.send_header("Retry-After", "1")
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:  # the browser has gone: nobody to answer
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)


def _page(package: str, name: str, kind: str) -> tuple[bytes, str]:
    return files(package).joinpath(name).read_bytes(), kind


def _samples(inference: Inference) -> dict[str, Any]:
    palette = matplotlib.colormaps[COLOURS](np.linspace(0, 1, 64), bytes=True)[:, :3].tolist()
    images = [
        {"index": s.index, "label": s.label, "pixels": np.asarray(s.image).tolist()}
        for s in samples()
    ]
    return {"network": inference.network.describe(), "palette": palette, "samples": images}


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode()
