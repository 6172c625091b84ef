"""A server on this machine that behaves as Google Drive does, and as a plain web server beside it.

Whatever `requests` is asked for goes to it, so that gdown runs as it is and nothing leaves the
machine.
"""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import requests

CONFIRMATION = """<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head>
<body>
<p class="uc-warning-caption">Google Drive can't scan this file for viruses.</p>
<form id="download-form" action="https://drive.usercontent.google.com/download" method="get">\
<input type="submit" value="Download anyway"/><input type="hidden" name="id" value="{id}">\
<input type="hidden" name="export" value="download"><input type="hidden" name="confirm" value="t">\
<input type="hidden" name="uuid" value="5f0c"></form></body></html>"""
QUOTA = """<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>
<p class="uc-error-caption">Sorry, you can't view or download this file at this time.</p>
<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently.</p>
</body></html>"""
LOGIN = (
    "<!DOCTYPE html><html><head><title>Sign in - Google "
    "Accounts</title></head><body><form></form></body></html>"
)


@dataclass
class Drive:
    """files: identifier, or path on another host -> content. What is not there has its page in
    `pages`.

    small: identifiers given without a confirmation page. breaks: after how many bytes of each
    answer the connection is cut, one number per request; none left: never. ranges: whether parts of
    a file can be asked for. asked: requests so far, as (host, path, Range).
    """

    files: dict[str, bytes] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)
    small: set[str] = field(default_factory=set)
    breaks: list[int] = field(default_factory=list)
    ranges: bool = True
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    drive: Drive

    def do_GET(self) -> None:
        _, host, rest = self.path.split("/", 2)
        parts = urlsplit(f"//{host}/{rest}")
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.drive.asked.append((host, parts.path, self.headers["Range"]))
        name = query.get("id", f"{host}{parts.path}")
        answered = (query.get("confirm"), query.get("uuid")) == ("t", "5f0c")
        confirmed = host == "drive.usercontent.google.com" and answered
        if name in self.drive.pages:
            self._page(self.drive.pages[name])
        elif name not in self.drive.files:
            self._page("<html><body>404. That's an error.</body></html>", 404)
        elif "id" in query and not confirmed and name not in self.drive.small:
            self._page(CONFIRMATION.format(id=name))
        else:
            self._file(self.drive.files[name])

    def _page(self, text: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def _file(self, content: bytes) -> None:
        found = (
            re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
            if self.drive.ranges
            else None
        )
        start = int(found[1]) if found else 0
        self.send_response(206 if found else 200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Disposition", 'attachment; filename="authors.pth.tar"')
        self.send_header("Content-Length", str(len(content) - start))
        if found:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        cut = self.drive.breaks.pop(0) if self.drive.breaks else None
        self.wfile.write(content[start:] if cut is None else content[start : start + cut])
        if cut is not None:
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serve(monkeypatch) -> Iterator[Drive]:
    """Run the server; every request of this process goes to it."""
    drive = Drive()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"drive": drive}))
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    ).start()
    send = requests.adapters.HTTPAdapter.send

    def to_this_machine(adapter, request, **keywords):
        parts = urlsplit(request.url)
        assert parts.scheme == "https"
        request.url = (
            f"http://127.0.0.1:{server.server_port}/{parts.netloc}{parts.path}?{parts.query}"
        )
        return send(adapter, request, **keywords | {"proxies": {}})

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", to_this_machine)
    monkeypatch.setattr("random.uniform", lambda a, b: 0.0)  # gdown's pauses between two attempts
    try:
        yield drive
    finally:
        server.shutdown()
        server.server_close()
