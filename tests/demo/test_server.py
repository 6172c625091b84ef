"""The server: one address, fixed routes, and nothing that is sent to it is believed."""

import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.resources import files

import numpy as np
import pytest

from spikedriven.demo import DemoServer, Inference
from spikedriven.demo.network import samples
from spikedriven.demo.server import FILES, LARGEST_BODY, Handler
from spikedriven.errors import InputError
from tests.demo.conftest import ask

POST = b"POST /classify HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BLANK = [[0] * 28] * 28


def body(pixels: object = BLANK) -> bytes:
    return json.dumps({"pixels": pixels}).encode()


def until(call, found):
    """Call again and again, for ten seconds at most, until what it gives is as it should be."""
    end = time.monotonic() + 10
    while not found(answer := call()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return answer


@pytest.fixture(scope="module")
def server(servers):
    return servers["lif"]


def test_it_listens_on_one_address_only(server):
    address, port = server.server_address
    assert address == "127.0.0.1" and server.url == f"http://127.0.0.1:{port}/"
    with pytest.raises(OSError), socket.create_connection(("127.0.0.2", port), timeout=5):
        pass  # a server on all interfaces would have answered
    own = {
        info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
    } - {"127.0.0.1"}
    for other in own:
        with pytest.raises(OSError), socket.create_connection((other, port), timeout=5):
            pass


def test_every_file_of_the_page_is_served_and_fetches_nothing(server):
    for path, (package, name, kind) in FILES.items():
        answer = ask(server, "GET", path)
        assert answer.status == 200 and answer.headers["Content-Type"].startswith(kind)
        assert answer.body == files(package).joinpath(name).read_bytes()
        assert not re.search(rb"https?://|@import|url\(", answer.body), path
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    shipped = {
        f"page/{entry.name}" for entry in files("spikedriven.demo").joinpath("page").iterdir()
    }
    assert shipped == {name for package, name, _ in FILES.values() if package == "spikedriven.demo"}


def test_samples(server):
    found = ask(server, "GET", "/samples").json
    assert found["network"]["name"] == "lif <b>" and found["network"]["time_steps"] == 2
    assert len(found["network"]["classes"]) == 10 and len(found["palette"]) == 64
    assert [s["label"] for s in found["samples"]] == [s.label for s in samples()]
    assert found["samples"][5]["pixels"] == np.asarray(samples()[5].image).tolist()


def test_classify_answers_what_inference_computes(server):
    sample = samples()[9]
    found = ask(server, "POST", "/classify", body(np.asarray(sample.image).tolist())).json
    expected = server.inference.classify(np.asarray(sample.image))
    assert {k: v for k, v in found.items() if k != "latency"} == {
        k: v for k, v in expected.items() if k != "latency"
    }


def test_several_at_a_time(server):
    bodies = [body(np.asarray(s.image).tolist()) for s in samples()[::6]] * 2
    with ThreadPoolExecutor(len(bodies)) as pool:
        answers = list(pool.map(lambda b: ask(server, "POST", "/classify", b).json, bodies))
    shown = [(a["shares"], a["layers"], a["energy"]) for a in answers]
    assert shown[:5] == shown[5:] and len({str(one) for one in shown}) == 5


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:8765", "127.0.0.1:1"])
def test_own_hosts(server, host):
    assert ask(server, "GET", "/samples", host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "evil.example:80",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "127.0.0.1@evil",
        "0.0.0.0",
        "localhost:99999999",
        "127.0.0.2",
        "xlocalhost",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_foreign_hosts_are_refused(server, host, method):
    """A name that someone points at 127.0.0.1: what the browser then sends names it."""
    answer = ask(server, method, "/" if method == "GET" else "/classify", body(), host=host)
    assert answer.status == 403 and b"localhost only" in answer.body


def test_two_hosts_are_refused(server):
    port = server.server_address[1]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.0 403")


def test_other_pages_may_not_ask(server):
    own = server.url.rstrip("/")
    assert ask(server, "POST", "/classify", body(), origin=own).status == 200
    for origin in ("http://evil.example", "null", "https://127.0.0.1", "http://localhost:1"):
        assert ask(server, "POST", "/classify", body(), origin=origin).status == 403
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        None,
    ):  # what a form can send unasked
        assert ask(server, "POST", "/classify", body(), content_type=kind).status == 400


@pytest.mark.parametrize(
    "path",
    [
        "/../server.py",
        "/page/page.html",
        "/page.html",
        "//etc/passwd",
        "/.",
        "/%2e%2e/server.py",
        "/etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/page.js/../../server.py",
        "/page.js?x=1",
        "/page.js%00.css",
        "\\..\\server.py",
        "http://127.0.0.1/page.js",
        "*",
    ],
)
def test_no_path_leads_elsewhere(server, path):
    assert ask(server, "GET", path).status == 404
    assert ask(server, "POST", path, body()).status == 404


def test_methods(server):
    assert ask(server, "GET", "/classify").status == 405
    assert ask(server, "POST", "/samples", body()).status == 404
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE", "BREW"):
        assert ask(server, method, "/classify").status == 501


WRONG = {
    "not JSON": (b"pixels", "no JSON"),
    "nothing": (b"", "no JSON"),
    "no text": (b"\xff\xfe\x00", "no JSON"),
    "nested": (b"[" * 16000, "no JSON"),
    "NaN": (body().replace(b"[[0", b"[[NaN", 1), "NaN is no number"),
    "infinity": (body().replace(b"[[0", b"[[-Infinity", 1), "-Infinity is no number"),
    "a list": (b"[]", "expected {"),
    "another key": (b'{"pixels": [], "x": 1}', "expected {"),
    "no list": (body("0" * 784), "no list but str"),
    "27 rows": (body([[0] * 28] * 27), "a list of 27"),
    "29 columns": (body([[0] * 29] * 28), "row 0 is a list of 29"),
    "a number as row": (body([*BLANK[1:], 7]), "row 27 is no list but int"),
    "fraction": (body([*BLANK[1:], [0.5] * 28]), "row 27 holds 0.5"),
    "true": (body([[True] * 28, *BLANK[1:]]), "row 0 holds True"),
    "null": (body([[None] * 28, *BLANK[1:]]), "row 0 holds None"),
    "negative": (body([[-1] * 28, *BLANK[1:]]), "row 0 holds -1"),
    "256": (body([[256] * 28, *BLANK[1:]]), "row 0 holds 256"),
    "large": (body([[10**300] * 28, *BLANK[1:]])[:LARGEST_BODY], "row 0 holds 1000"),
    "many digits": (b'{"pixels": ' + b"9" * 6000 + b"}", "no JSON"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_bodies_are_told_in_one_message(server, case):
    sent, message = WRONG[case]
    answer = ask(server, "POST", "/classify", sent)
    assert answer.status == 400 and answer.json.keys() == {"error"}
    assert message in answer.json["error"] and "\n" not in answer.json["error"]
    assert len(answer.json["error"]) < 250


@pytest.mark.parametrize("size", [LARGEST_BODY + 1, 900_000])
def test_a_body_that_is_too_large_is_refused_unread(server, size):
    answer = ask(server, "POST", "/classify", b" " * size)
    assert answer.status == 413 and f"{size} bytes; at most {LARGEST_BODY}" in answer.json["error"]


def test_a_body_that_is_only_announced_is_refused_at_once(server):
    with socket.create_connection(
        ("127.0.0.1", server.server_address[1]), timeout=20
    ) as connection:
        connection.sendall(POST + b"Content-Length: 100000000000\r\n\r\n")
        began = time.monotonic()
        assert connection.recv(100).startswith(b"HTTP/1.0 413")
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.0\r\nHost: localhost\r\nX: ", None])
def test_a_sender_of_a_byte_now_and_then_is_dropped(server, monkeypatch, start):
    """The deadline is that of the whole request: no byte moves it."""
    monkeypatch.setattr(Handler, "timeout", 0.5)
    start = POST + b"Content-Length: 100\r\n\r\n" if start is None else start
    with socket.create_connection(
        ("127.0.0.1", server.server_address[1]), timeout=20
    ) as connection:
        connection.sendall(start)
        began = time.monotonic()
        with pytest.raises(OSError):  # at the latest the second byte after it has gone is refused
            while time.monotonic() - began < 10:
                connection.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() - began < 5
    assert ask(server, "GET", "/").status == 200


def test_two_hundred_requests_at_a_time_are_all_answered(server, monkeypatch):
    monkeypatch.setattr(
        server.inference, "_classify", lambda pixels: time.sleep(0.002) or {"shares": []}
    )
    sent = body(np.asarray(samples()[3].image).tolist())
    asked = [("POST", "/classify", sent) if number % 4 else ("GET", "/") for number in range(200)]
    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(lambda words: ask(server, *words), asked))
    assert [answer.status for answer in answers] == [200] * 200


def test_more_than_may_wait_are_told_to_come_again(server, monkeypatch):
    monkeypatch.setattr(server.inference, "_places", threading.Semaphore(0))
    answer = ask(server, "POST", "/classify", body())
    assert (
        answer.status == 503
        and answer.headers["Retry-After"] == "1"
        and "ask again later" in answer.json["error"]
    )


def test_more_connections_than_there_is_room_for_are_told_to_come_again(server, monkeypatch):
    monkeypatch.setattr(server, "most", 4)
    monkeypatch.setattr(Handler, "timeout", 1.0)
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(
                socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=20)
            )
        answer = until(lambda: ask(server, "GET", "/"), lambda answer: answer.status == 503)
        assert answer.headers["Retry-After"] == "1" and answer.json == {
            "error": "too many requests; ask again later"
        }
        until(
            lambda: ask(server, "GET", "/"), lambda answer: answer.status == 200
        )  # the silent ones are dropped


@pytest.mark.parametrize("length", [None, "", "-1", "1e3", "٣", "99999999999999999"])
def test_a_body_without_a_length_is_refused(server, length):
    encoded = None if length is None else length.encode().decode("latin-1")
    answer = ask(server, "POST", "/classify", content_length=encoded)
    assert answer.status == 400 and "Content-Length" in answer.json["error"]


def test_a_sender_that_stops_is_dropped(server, monkeypatch):
    monkeypatch.setattr(Handler, "timeout", 0.2)
    with socket.create_connection(
        ("127.0.0.1", server.server_address[1]), timeout=20
    ) as connection:
        connection.sendall(
            b"POST /classify HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
        assert connection.recv(100) == b""
    assert ask(server, "GET", "/").status == 200


def test_a_failure_inside_is_named_without_its_details(server, monkeypatch, caplog):
    def fail(pixels):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(server.inference, "classify", fail)
    answer = ask(server, "POST", "/classify", body())
    assert (
        answer.status == 500
        and "in the terminal" in answer.json["error"]
        and b"secret" not in answer.body
    )
    assert "secret" in caplog.text


def test_a_port_that_is_taken(server):
    port = server.server_address[1]
    own = Inference(server.inference.network, threads=1)  # a server that fails closes it
    with pytest.raises(
        InputError, match=f"port {port} of 127.0.0.1 is in use; give another with --port"
    ):
        DemoServer(own, port)
    for wrong in (-1, 65536):
        with pytest.raises(InputError, match=f"--port {wrong}"):
            DemoServer(own, wrong)
