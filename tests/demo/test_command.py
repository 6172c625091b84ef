"""`spikedriven demo` as a process: what it prints, that it answers, how it stops."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import ExitStack

import pytest

from spikedriven.cli import main

BODY = b'{"pixels": [' + b", ".join([b"[" + b", ".join([b"0"] * 28) + b"]"] * 28) + b"]}"


@pytest.mark.parametrize(
    ("number", "run", "name"),
    [(signal.SIGINT, "lif", "lif <b>"), (signal.SIGTERM, None, "e_spikeformer_fashion")],
    ids=["Ctrl-C on a run", "SIGTERM on the weights that ship"],
)
def test_it_serves_until_it_is_stopped(runs, number, run, name):
    target = [str(runs[run])] if run else []
    command = [
        sys.executable,
        "-m",
        "spikedriven",
        "demo",
        *target,
        "--port",
        "0",
        "--threads",
        "1",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    try:
        line = process.stdout.readline()
        url = re.fullmatch(
            rf"{name}: open (http://127\.0\.0\.1:\d+/) in a browser; Ctrl-C stops\n", line
        )[1]
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert b"Draw or pick a garment" in answer.read()
        process.send_signal(number)
        out, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out, errors) == (0, "stopped\n", "")


def test_it_stops_with_requests_in_flight(runs):
    """The picture at hand is finished, those that wait are told, and nothing is left behind in
    the compiled engine.
    """
    command = [
        sys.executable,
        "-m",
        "spikedriven",
        "demo",
        str(runs["lif"]),
        "--port",
        "0",
        "--threads",
        "1",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    try:
        url = re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())
        request = (
            b"POST /classify HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: " + str(len(BODY)).encode() + b"\r\n\r\n" + BODY
        )
        with ExitStack() as stack:
            waiting = [
                stack.enter_context(socket.create_connection(("127.0.0.1", int(url[1])), 20))
                for _ in range(30)
            ]
            for connection in waiting:
                connection.sendall(request)
            idle = stack.enter_context(socket.create_connection(("127.0.0.1", int(url[1])), 20))
            assert waiting[0].recv(12) == b"HTTP/1.0 200"
            process.send_signal(signal.SIGINT)
            answers = {connection.recv(12) for connection in waiting[1:]}
            assert answers <= {b"HTTP/1.0 200", b"HTTP/1.0 503"} and b"HTTP/1.0 503" in answers
            assert idle.recv(1) == b""
            out, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out, errors) == (0, "stopped\n", "")


def test_a_taken_port_is_one_message(runs, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["demo", str(runs["lif"]), "--port", str(port)]) == 2
    message = capsys.readouterr().err
    assert (
        message.startswith(f"spikedriven demo: port {port} of 127.0.0.1 is in use")
        and message.count("\n") == 1
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["runs/nowhere"], "not a run folder"),
        (["sdt_8_512"], "no trained weights of sdt_8_512"),
        (["sdt_8_51"], "no model is called"),
        (["x", "--threads", "0"], "--threads 0: expected"),
    ],
)
def test_mistakes(words, message, capsys):
    assert main(["demo", *words]) == 2
    assert message in capsys.readouterr().err
