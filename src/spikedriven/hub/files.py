"""A folder of three files, as timm writes and reads it: config.json, model.safetensors,
README.md.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import huggingface_hub
import timm
import torch
from torch import nn

from spikedriven.errors import InputError
from spikedriven.files import write_atomic
from spikedriven.graph.firing import Batches
from spikedriven.hub.card import card
from spikedriven.hub.subject import Published, published
from spikedriven.models import SpikeDrivenModel, create_model, list_models
from spikedriven.models.names import class_names

#: A network, or a run of `spikedriven train`: its folder, RUN/best, or a checkpoint folder.
ModelOrRun = nn.Module | str | Path


def save_pretrained(
    model: ModelOrRun,
    folder: str | Path,
    images: Batches | None = None,
    license: str | None = None,
) -> Path:
    """Write a network into a folder that `from_pretrained` and timm read.

    model: a network of `create_model` with weights of yours, or a run. The folder of a run gives
    more: its recipe, and its accuracy on the test images, measured now. images: batches [B, C, H,
    W] or [B, T, C, H, W] on which firing rates and energy are measured for the card; None: of a run
    256 of its test images, of a network none, and the card says so. license: of the weights, such
    as "apache-2.0"; None: the card names none.

    Returns the folder. Raises InputError for a network that timm cannot build again (quantized,
    folded, or with a body of your own), and for a folder that holds something else.

    Example::

        >>> import spikedriven as sd
        >>> model = sd.create_model("e_spikeformer_fashion", pretrained=True)
        >>> folder = sd.save_pretrained(model, "published")
        >>> sorted(file.name for file in folder.iterdir())
        ['README.md', 'config.json', 'model.safetensors']
    """
    found = published(model, images)
    target = Path(folder)
    _check_folder(target)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as built:
        _write(found, Path(built), license)
        for name in FILES:
            write_atomic(target / name, (Path(built) / name).read_bytes())
    return target


def push_to_hub(
    model: ModelOrRun,
    repo_id: str,
    images: Batches | None = None,
    license: str | None = None,
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    commit_message: str = "Add model",
) -> str:
    """Publish a network on the Hugging Face Hub; returns the address of the commit.

    model, images, license: as `save_pretrained` takes them. repo_id: OWNER/NAME; the repository is
    made where there is none. token: None: that of `hf auth login`. revision: branch. create_pr: as
    a pull request. Whoever has the package loads it with ``spikedriven.from_pretrained(repo_id)``,
    or with ``timm.create_model("hf-hub:OWNER/NAME", pretrained=True)`` after ``import
    spikedriven``.

    Example::

        >>> import spikedriven as sd
        >>> sd.push_to_hub("runs/quickstart", "OWNER/NAME")  # doctest: +SKIP
        'https://huggingface.co/OWNER/NAME/commit/...'
    """
    found = published(model, images)
    api = huggingface_hub.HfApi(token=token)
    made = api.create_repo(repo_id, private=private, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        _write(found, Path(folder), license, made.repo_id)
        commit = api.upload_folder(
            repo_id=made.repo_id,
            folder_path=folder,
            revision=revision,
            create_pr=create_pr,
            commit_message=commit_message,
        )
    return str(commit)


def from_pretrained(source: str | os.PathLike[str], **keywords: Any) -> nn.Module:
    """The network of a folder, of a repository of the Hugging Face Hub, or of a name whose weights
    ship.

    source: a folder of `save_pretrained`; OWNER/NAME or OWNER/NAME@REVISION; or a name, such as
    "e_spikeformer_fashion". keywords: of `create_model`; ``num_classes`` and ``in_chans`` exchange
    the classifier and the first layer. In evaluation mode. Nothing is unpickled. Raises InputError
    for a source that is none of the three, and for a network that is not registered here.

    Example::

        >>> import torch
        >>> import spikedriven as sd
        >>> model = sd.from_pretrained("e_spikeformer_fashion", num_classes=5)
        >>> model(torch.rand(1, 1, 28, 28)).shape
        torch.Size([1, 5])
    """
    name = os.fspath(source)
    if Path(name).is_dir():
        _check_architecture(name, Path(name) / CONFIG)
        return timm.create_model(f"local-dir:{name}", pretrained=True, **keywords).eval()
    if "/" not in name:
        return create_model(name, pretrained=True, **keywords).eval()
    repo_id, _, revision = name.partition("@")
    if repo_id.count("/") != 1 or name.startswith((".", "/", "~")):
        raise InputError(
            f"{name}: there is no such folder; expected a folder, OWNER/NAME, or a name that ships"
        )
    file = huggingface_hub.hf_hub_download(repo_id, CONFIG, revision=revision or None)
    _check_architecture(name, Path(file))
    return timm.create_model(f"hf-hub:{name}", pretrained=True, **keywords).eval()


CONFIG, WEIGHTS, README = "config.json", "model.safetensors", "README.md"
FILES = (CONFIG, WEIGHTS, README)


def _check_folder(folder: Path) -> None:
    """A folder of this kind may be written again; anything else stays as it is."""
    if folder.is_file():
        raise InputError(f"{folder}: is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / CONFIG).is_file():
        raise InputError(f"{folder}: holds something else; name a new folder")


def _check_architecture(source: str, config: Path) -> None:
    if not config.is_file():
        raise InputError(f"{source}: has no {CONFIG}, so it is no folder of save_pretrained")
    try:
        name = json.loads(config.read_text(encoding="utf-8"))["architecture"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{config}: does not name an architecture; it is no file of save_pretrained"
        ) from error
    if name not in list_models():
        raise InputError(
            f"{source}: its network {name!r} is not registered here. Import the plugin that has "
            "it, "
            "or take timm.create_model for a network of timm"
        )


def _write(found: Published, folder: Path, license: str | None, repo_id: str = "") -> None:
    model = found.model
    labels = class_names(model)
    config = {"label_names": list(labels)} if labels else {}
    timm.models.save_for_hf(
        model,
        str(folder),
        model_config={**config, "pretrained_cfg": found.preparation},
        model_args=found.keywords,
        safe_serialization=True,
    )
    (folder / README).write_text(card(found, license, repo_id), encoding="utf-8")
    _check_again(model, folder)


def _check_again(model: SpikeDrivenModel, folder: Path) -> None:
    """What was written is the network: the same output, bit for bit."""
    again = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    x = torch.rand(model.example_input().shape)
    with torch.no_grad():
        same = torch.equal(again(x), model.eval().float().cpu()(x))
    if not same:
        raise InputError(
            f"{type(model).__name__}: the folder does not give this network back, so nothing is "
            "published. "
            "Was it changed after create_model?"
        )
