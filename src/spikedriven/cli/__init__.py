"""The command line: `spikedriven COMMAND ...`, one module per command, imported when it is
called.
"""

import importlib
import os
import sys
import textwrap

from spikedriven.errors import SpikedrivenError
from spikedriven.plugins import load_plugins, split_option

COMMANDS: dict[str, str] = {
    "models": "list the networks: parameters, time steps, input, source",
    "train": "train a recipe, or continue a run",
    "eval": "accuracy of a run or of a published checkpoint",
    "stream": "classify an event recording while reading it, step by step",
    "events": "what is in an event recording and what is wrong with it; draw it, convert it",
    "predict": "classes, objects or label maps of pictures, drawn on them",
    "audit": "is a network addition-only? every product, and what folding removes",
    "energy": "energy per image under named conventions, from measured firing rates",
    "firing": "how every layer of neurons fires, step by step, as a table, JSON or CSV",
    "attention": "where a network fires: maps per block and time step over an image",
    "report": "one self-contained HTML page about a run or a network",
    "demo": "a page on this machine: draw a garment, watch the spikes, see energy and latency",
    "bench": "how fast a network runs here, against the other ways to run it",
    "compile": "write a network as a program for the event-driven CPU engine, and check it",
    "quantize": "make a run's weights integers of 2 to 8 bits, rounded or trained on",
    "export": "write a network as ONNX or NIR, and check the file by running it",
    "data": "list the data sets, and check what is in the data folder",
    "fetch": "download a published checkpoint from its authors, check it and keep it",
    "claims": "every figure of the publications: published, ours, does it hold",
    "convert": "turn a published checkpoint into safetensors",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 2 for an error the user can act on, 130
    after Ctrl-C.
    """
    argv, plugins = split_option(sys.argv[1:] if argv is None else argv)
    name, rest = (argv[0], argv[1:]) if argv else ("--help", [])
    try:
        status = _run(name, rest, plugins)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # the reader (`head`, a closed pager) has gone: nothing more to say, not even when Python
        # flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13


def _run(name: str, argv: list[str], plugins: list[str]) -> int:
    if name in ("-h", "--help"):
        print(_overview())
        return 0
    if name == "--version":
        from spikedriven import __version__

        print(__version__)
        return 0
    if name not in COMMANDS:
        print(f"spikedriven: unknown command {name!r}\n\n{_overview()}", file=sys.stderr)
        return 2
    return _command(name, argv, plugins)


def _command(name: str, argv: list[str], plugins: list[str]) -> int:
    try:
        load_plugins(plugins)
        status: int = importlib.import_module(f"spikedriven.cli.{name}").run(argv)
        return status
    except SpikedrivenError as error:
        print(f"spikedriven {name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"spikedriven {name}: interrupted", file=sys.stderr)
        return 130
    except SystemExit as request:  # tyro, after --help or a wrong option
        return request.code if isinstance(request.code, int) else int(request.code is not None)


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [
        textwrap.fill(
            text, 80, initial_indent=f"  {name:<{width}}  ", subsequent_indent=" " * (width + 4)
        )
        for name, text in COMMANDS.items()
    ]
    return "\n".join(
        [
            "usage: spikedriven COMMAND ...",
            "",
            *lines,
            "",
            "`spikedriven COMMAND --help` shows an example. `--plugin MODULE`, with every command, "
            "loads",
            "families, neurons, data sets and recipes of your own; so does the variable "
            "SPIKEDRIVEN_PLUGINS.",
        ]
    )
