"""Checkpoints: folders that appear whole or not at all, with weights as safetensors and the rest
readable without unpickling code.

RUN/recipe.yaml                         the effective recipe
RUN/checkpoints/step_00000400/          model.safetensors, ema.safetensors, state.pt, manifest.json
(sizes and CRCs) RUN/checkpoints/best.json               which step had the best figure, on which
images, of how many evaluations
"""

import io
import json
import logging
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from spikedriven.errors import CheckpointError
from spikedriven.files import explain_os_errors, sync_folder, write_atomic, write_durable
from spikedriven.graph.quantization import frozen
from spikedriven.models.names import name_classes
from spikedriven.recipes.reading import read_recipe
from spikedriven.recipes.types import Recipe
from spikedriven.runs.data import data_of
from spikedriven.runs.networks import network_of
from spikedriven.runs.quantized import read_record

logger = logging.getLogger(__name__)
MANIFEST, BEST = "manifest.json", "best.json"


@dataclass(frozen=True)
class Checkpoint:
    """What one checkpoint holds. `state` has optimiser, scaler and counters: tensors, numbers,
    strings, lists and dicts only.
    """

    model: dict[str, Tensor]
    ema: dict[str, Tensor] | None
    state: dict[str, Any]


class CheckpointStore:
    """The checkpoints of one run folder."""

    def __init__(self, run: Path, keep: int = 2) -> None:
        self.folder, self.keep = run / "checkpoints", keep

    def save(self, step: int, checkpoint: Checkpoint) -> Path:
        """Write the checkpoint of `step`, then remove all before it but the newest `keep` and
        the best one.
        """
        target = self.folder / f"step_{step:08d}"
        temporary = self.folder / f".{target.name}.tmp"
        with explain_os_errors(target):
            self.folder.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(temporary, ignore_errors=True)
            try:
                _write_folder(temporary, checkpoint)
                self._put(temporary, target)
            except OSError:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
            self._prune(target)
        return target

    def _put(self, temporary: Path, target: Path) -> None:
        """Give a finished folder its name. One of that name (stopped at an epoch's last step, then
        resumed) stands aside first: a kill at any moment leaves one of the two to be found.
        """
        aside = target.with_name(f".{target.name}.aside")
        if target.exists():
            shutil.rmtree(aside, ignore_errors=True)
            target.replace(aside)
        temporary.replace(target)
        sync_folder(self.folder)
        shutil.rmtree(aside, ignore_errors=True)

    def mark_best(self, step: int, metric: str, value: float, **of: Any) -> None:
        """Remember that the checkpoint of `step`, which must exist, has the best validation figure
        so far.

        of: what else is to be known of the choice: which images, of how many evaluations (see
        `selection`).
        """
        self._write_mark({"step": step, "metric": metric, "value": value, **of})

    def count_evaluations(self, evaluations: int) -> None:
        """Remember that the marked checkpoint is still the best one, of so many evaluations."""
        mark = self.mark()
        if mark:
            self._write_mark({**mark, "evaluations": evaluations})

    def _write_mark(self, mark: dict[str, Any]) -> None:
        write_atomic(self.folder / BEST, json.dumps(mark).encode())

    def best(self) -> Path | None:
        """The folder of the best checkpoint, if one was marked. CheckpointError if the mark
        cannot be read.
        """
        mark = self.mark()
        return self.folder / f"step_{mark['step']:08d}" if mark else None

    def mark(self) -> dict[str, Any]:
        """What `mark_best` wrote: at least step, metric and value; empty where nothing was
        marked.
        """
        record = self.folder / BEST
        if not record.is_file():
            return {}
        try:
            mark = json.loads(record.read_bytes())
            return {**mark, "step": int(mark["step"]), "metric": str(mark["metric"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{record}: cannot be read ({type(error).__name__}: {error}). Which checkpoint was "
                "the best one is no "
                "longer known; delete the file to go on without"
            ) from error

    @property
    def begun(self) -> bool:
        """Whether there is any checkpoint, readable or not."""
        return bool(self._folders()) or any(self.folder.glob(".step_*.aside"))

    def paths(self) -> list[Path]:
        """All complete checkpoints, newest first."""
        return [path for path in self._folders() if (path / MANIFEST).exists()]

    def _folders(self) -> list[Path]:
        return sorted(self.folder.glob("step_*"), reverse=True)

    def newest(self) -> tuple[Path, Checkpoint] | None:
        """The newest checkpoint that can be read; a broken one is passed over with a warning. None:
        no checkpoint. CheckpointError too where the mark of the best one is damaged: `save` would
        not know what to keep.
        """
        self._bring_back()
        self.best()
        problems = []
        for path in self._folders():
            try:
                return path, read_checkpoint(path)
            except CheckpointError as error:
                problems.append(str(error))
                logger.warning("%s; falling back to the checkpoint before it", error)
        if problems:
            raise CheckpointError("no checkpoint of this run can be read:\n" + "\n".join(problems))
        return None

    def tidy(self) -> None:
        """Remove what writes that were killed have left in the run folder. Not while another
        process writes there.
        """
        self._bring_back()
        for rest in [
            *self.folder.parent.glob(".*.tmp"),
            *self.folder.glob(".*.tmp"),
            *self.folder.glob(".*.aside"),
        ]:
            if rest.is_dir():
                shutil.rmtree(rest, ignore_errors=True)
            else:
                rest.unlink(missing_ok=True)

    def _bring_back(self) -> None:
        """Give a checkpoint its name again that a kill in `_put` left aside. Several processes
        may do so at once.
        """
        for aside in self.folder.glob(".step_*.aside"):
            target = self.folder / aside.name.removeprefix(".").removesuffix(".aside")
            if not target.exists():
                with suppress(FileNotFoundError):  # another process was faster
                    aside.replace(target)

    def _prune(self, newest: Path) -> None:
        """Checkpoints of later steps than the newest are damaged ones that the run fell back from:
        they stay, and do not count.
        """
        paths = [path for path in self.paths() if path.name <= newest.name]
        kept = {*paths[: self.keep], self.best()}
        for path in paths:
            if path not in kept:
                # under a name that `tidy` knows: half of a checkpoint must not look like one after
                # a kill
                rest = path.replace(path.with_name(f".{path.name}.old.tmp"))
                shutil.rmtree(rest, ignore_errors=True)


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read one checkpoint folder, every file checked against the manifest."""
    files = dict(_checked_files(folder))
    try:
        state = torch.load(io.BytesIO(files["state.pt"]), weights_only=True, map_location="cpu")
        ema = (
            safetensors.torch.load(files["ema.safetensors"]) if "ema.safetensors" in files else None
        )
        return Checkpoint(safetensors.torch.load(files["model.safetensors"]), ema, state)
    except Exception as error:  # whatever a damaged file makes the two readers raise
        raise CheckpointError(
            f"{folder}: the checkpoint is damaged ({type(error).__name__}: {error})"
        ) from error


def load_run(path: str | Path, *, ema: bool | None = None) -> tuple[nn.Module, Recipe]:
    """The trained model of a run, in eval mode on the CPU, and its recipe. Of a run with `quant`,
    the quantized module.

    The model's `class_names` are those of the data that it was trained on, where the run knows
    them.

    path: a run folder (its newest checkpoint is taken), RUN/best, or one checkpoint folder of a
    run. ema: True takes the averaged weights, False the trained ones; None takes the average where
    the run kept one, since that is what the run evaluated.
    """
    recipe, weights, folder = read_run(path, ema=ema)
    model, run = network_of(recipe), folder.parent.parent
    if recipe.quant.bits is None:
        load_weights(model, weights, folder)
        model.eval()
    else:
        read_record(run).apply(model, trained=True)
        load_weights(model, weights, folder)
        model = frozen(model)
    record = data_of(run)
    if record is not None:
        name_classes(model, record.classes, record.several_labels)
    return model, recipe


def read_run(
    path: str | Path, *, ema: bool | None = None
) -> tuple[Recipe, dict[str, Tensor], Path]:
    """What `load_run` builds its model from: recipe, weights, and the checkpoint folder they
    are in.
    """
    run, folder = locate_run(Path(path))
    checkpoint = read_checkpoint(folder)
    if ema and checkpoint.ema is None:
        raise CheckpointError(
            f"{folder}: the run kept no averaged weights (run.ema was off); load it with ema=False"
        )
    weights = (
        checkpoint.ema if checkpoint.ema is not None and ema is not False else checkpoint.model
    )
    return read_recipe(run / "recipe.yaml"), weights, folder


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], source: Path) -> None:
    """Strictly load a state dict of our own key names."""
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise CheckpointError(
            f"{source}: the weights do not fit the model of the recipe: {error}"
        ) from error


def locate_run(path: Path) -> tuple[Path, Path]:
    """(run folder, checkpoint folder) of a path as `load_run` takes it."""
    if (path / MANIFEST).is_file():
        return path.parent.parent, path
    run, wants_best = (
        (path.parent, True) if path.name == "best" and not path.exists() else (path, False)
    )
    if not (run / "recipe.yaml").is_file():
        raise CheckpointError(
            f"{path}: not a run folder: it has no recipe.yaml. Give the folder that `spikedriven "
            "train` printed"
        )
    store = CheckpointStore(run)
    found = store.best() if wants_best else next(iter(store.paths()), None)
    if found is None:
        raise CheckpointError(f"{run}: no {'best ' if wants_best else ''}checkpoint in it yet")
    return run, found


def _write_folder(folder: Path, checkpoint: Checkpoint) -> None:
    buffer = io.BytesIO()
    torch.save(checkpoint.state, buffer)
    files = {"model.safetensors": _safetensors(checkpoint.model), "state.pt": buffer.getvalue()}
    if checkpoint.ema is not None:
        files["ema.safetensors"] = _safetensors(checkpoint.ema)
    folder.mkdir()
    manifest = {}
    for name, data in files.items():
        write_durable(folder / name, data)
        manifest[name] = {"bytes": len(data), "crc32": zlib.crc32(data)}
    write_durable(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
    sync_folder(folder)


def _safetensors(tensors: Mapping[str, Tensor]) -> bytes:
    return safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    )


def _checked_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        for name, expected in manifest.items():
            data = (folder / Path(name).name).read_bytes()
            if (len(data), zlib.crc32(data)) != (expected["bytes"], expected["crc32"]):
                raise CheckpointError(
                    f"{folder / name}: damaged: its length or checksum is not what was written"
                )
            yield name, data
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{folder}: the checkpoint cannot be read ({type(error).__name__}: {error})"
        ) from error
