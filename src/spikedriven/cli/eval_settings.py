"""What a figure of `spikedriven eval` rests on, told with it: the network's keywords, and how
samples were prepared.
"""

import dataclasses
from typing import Any

from spikedriven.cli.eval_tables import Evaluation
from spikedriven.data import DataConfig
from spikedriven.runs.target import Loaded

#: Of a data section, as far as it has them.
_OF_DATA = (
    "img_size",
    "crop_pct",
    "interpolation",
    "fit",
    "time_steps",
    "split_by",
    "values",
    "split",  # of classifiers
    "resize",
    "test_scales",
    "test_flip",
    "slide",  # of segmenters
    "test_size",
    "max_size",  # of detectors
)


def with_settings(found: Evaluation, loaded: Loaded, data: Any) -> Evaluation:
    """The evaluation with its settings in front of the tables, and under "settings" in the
    record.
    """
    prepared = preparation(data)
    settings = {"network": loaded.full_name, "keywords": loaded.keywords, "said_by": loaded.origins}
    settings |= {"notes": loaded.notes} if loaded.notes else {}
    lines = [
        *_network(loaded),
        f"samples: {', '.join(f'{key} {_short(value)}' for key, value in prepared.items())}",
    ]
    record = {
        **found.record,
        "settings": {**(settings if loaded.full_name else {}), "samples": prepared},
    }
    return dataclasses.replace(found, record=record, tables=("\n".join(lines), *found.tables))


def preparation(data: Any) -> dict[str, Any]:
    """How samples reach the network, and in which order its classes are."""
    prepared = {key: getattr(data, key) for key in _OF_DATA if hasattr(data, key)}
    if isinstance(data, DataConfig):
        prepared["mean"], prepared["std"] = data.normalization()
    return prepared | {"class_order": getattr(data, "class_order", "the data set's own")}


def _network(loaded: Loaded) -> list[str]:
    """Of a network given by name: keyword, value, and who said it."""
    if not loaded.full_name:
        return []
    said = [
        f"{key} {_short(value)} ({loaded.origins[key]})" for key, value in loaded.keywords.items()
    ]
    return [f"network: {loaded.full_name}" + (f": {', '.join(said)}" if said else "")]


def _short(value: Any) -> str:
    if isinstance(value, tuple | list):
        return " ".join(map(_short, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
