"""Train a recipe, or continue a run.

Example:

    spikedriven train quickstart
    spikedriven train quickstart --schedule.epochs 3 --model.args.embed_dim 96 --run.out runs/small
    spikedriven train quickstart --resume       # continues runs/quickstart, or starts it
    torchrun --nproc-per-node 8 -m spikedriven train sdt_imagenet_8_512 --data.root /data
    spikedriven train --list "sdt*"             # recipes by name; without a wildcard: all

RECIPE is the name of a shipped recipe (--list shows them), a YAML file, or the folder of a run (its
recipe is used again). Every field of the recipe is an option: --optim.lr 1e-3. Further keywords of
the model: --model.args.NAME VALUE; of timm's optimiser and schedule: --optim.args.NAME VALUE,
--schedule.args.NAME VALUE.
"""

import json

from spikedriven.cli.index import recipes
from spikedriven.cli.listing import show
from spikedriven.errors import InputError

#: Words that `train --list` takes.
_LISTS = ("--list", "--json")


def run(argv: list[str]) -> int:
    """List recipes, or parse `argv` and train; see `spikedriven.cli.training`."""
    if "--list" in argv:
        return _list([word for word in argv if word not in _LISTS], "--json" in argv)
    if not argv or set(argv) <= {"-h", "--help"}:
        print(__doc__)
        return 0 if argv else 2
    from spikedriven.cli import training  # needs torch

    return training.run(argv, __doc__ or "")


def _list(words: list[str], as_json: bool) -> int:
    """The recipes whose names match a wildcard; 1 where there is none."""
    if len(words) > 1 or any(word.startswith("-") for word in words):
        raise InputError(
            f'train --list takes one wildcard, such as "sdt*"; found {" ".join(words)}'
        )
    found = recipes(*words)
    if as_json:
        print(json.dumps({one.name: one.description for one in found}, indent=1))
        return 0 if found else 1
    rows = [(one.name, one.data, str(one.epochs), one.description) for one in found]
    show(("recipe", "data", "epochs", "description"), rows, ("epochs",), ("description",))
    print(f"{len(found)} recipes")
    return 0 if found else 1
