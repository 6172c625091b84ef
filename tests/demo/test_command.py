"""`spikedriven demo` as a process: what it prints, that it answers, how it stops."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from spikedriven.cli import main


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
