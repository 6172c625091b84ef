"""Networks in timm's files: written, read again, published, with a card of what was measured."""

import inspect
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import timm
import torch

import spikedriven as sd
from spikedriven.cli import main
from spikedriven.errors import InputError
from spikedriven.files import write_atomic
from spikedriven.hub import files
from tests.networks import enliven

ROOT = Path(__file__).parents[2]
THIN = {"embed_dims": (8, 16, 16, 16), "depths": (1, 1, 1, 1, 1), "num_heads": 2, "mlp_ratio": 1}


@pytest.fixture(scope="module")
def model():
    return enliven(
        sd.create_model(
            "e_spikeformer_3m", num_classes=4, img_size=32, levels=2, drop_rate=0.3, **THIN
        )
    )


@pytest.fixture(scope="module")
def images():
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of a few steps, as a user trains one."""
    out = tmp_path_factory.mktemp("runs") / "quick"
    small = [
        "--model.args.embed_dim",
        "32",
        "--model.args.depth",
        "1",
        "--run.max_steps",
        "2",
        "--run.batch_size",
        "8",
    ]
    assert main(["train", "quickstart", *small, "--run.out", str(out), "--data.workers", "0"]) == 0
    return out


def test_the_same_network_comes_back_with_all_keywords(model, images, tmp_path: Path):
    sd.save_pretrained(model, tmp_path / "a", images)
    again = sd.from_pretrained(tmp_path / "a")
    assert torch.equal(again(images), model.eval()(images)) and not again.training
    with torch.no_grad():
        body = model.forward_features(images)
        assert torch.equal(
            sd.from_pretrained(tmp_path / "a", num_classes=7).forward_features(images), body
        )
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(files.FILES)
    assert json.loads((tmp_path / "a" / "config.json").read_text())["model_args"]["levels"] == 2


def test_the_card_says_what_was_measured(model, images, tmp_path: Path):
    text = (sd.save_pretrained(model, tmp_path, images, license="mit") / "README.md").read_text()
    total = sd.energy(model, images).total_mj
    assert text.startswith("---\nlicense: mit\nlibrary_name: timm\n")
    assert f"| energy, convention sdt | {total:.4g} mJ per image" in text
    assert sd.audit(model, images).verdict().split("\n")[0] in text and "accuracy" not in text
    text = (sd.save_pretrained(model, tmp_path) / "README.md").read_text()
    assert "not measured: no images were given" in text and "license" not in text


@pytest.mark.slow
def test_a_run_is_published_with_its_recipe_and_accuracy(run: Path, tmp_path: Path, capsys):
    folder = sd.save_pretrained(run, tmp_path / "b")
    capsys.readouterr()
    assert main(["eval", str(run), "--json"]) == 0
    top1 = json.loads(capsys.readouterr().out)["top1"]
    text = (folder / "README.md").read_text()
    assert (
        f"top-1 {top1:.2f} %" in text
        and "embed_dim: 32" in text
        and "the newest of the run" in text
    )
    assert re.search(r"firing rate \| 0\.\d+ spikes .*256 test images", text)
    assert sd.from_pretrained(folder).class_names[0] == "T-shirt/top"


class Api:
    """Takes the calls of `huggingface_hub.HfApi` that its real signatures take, and keeps them."""

    calls: list[tuple[str, dict[str, Any]]]

    def __init__(self, **keywords: Any) -> None:
        inspect.signature(huggingface_hub.hf_api.HfApi.__init__).bind(self, **keywords)
        Api.calls = [("init", keywords)]

    def create_repo(self, *args: Any, **keywords: Any) -> Any:
        bound = inspect.signature(huggingface_hub.hf_api.HfApi.create_repo).bind(
            self, *args, **keywords
        )
        Api.calls.append(("create_repo", bound.arguments))
        return SimpleNamespace(repo_id=f"me/{bound.arguments['repo_id'].split('/')[-1]}")

    def upload_folder(self, **keywords: Any) -> str:
        inspect.signature(huggingface_hub.hf_api.HfApi.upload_folder).bind(self, **keywords)
        sent = {path.name: path.read_bytes() for path in Path(keywords["folder_path"]).iterdir()}
        Api.calls.append(("upload_folder", {**keywords, "sent": sent}))
        return "https://huggingface.co/me/garments/commit/1"


def test_one_call_publishes(model, images, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    told = sd.push_to_hub(model, "garments", images, private=True, token="t", create_pr=True)
    (_, start), (_, repo), (_, upload) = Api.calls
    assert told.endswith("/commit/1") and start == {"token": "t"}
    assert repo["repo_id"] == "garments" and repo["private"] is True and repo["exist_ok"] is True
    assert (
        upload["repo_id"] == "me/garments"
        and upload["create_pr"] is True
        and upload["revision"] is None
    )
    assert set(upload["sent"]) == set(files.FILES)
    assert b'from_pretrained("me/garments")' in upload["sent"]["README.md"]


def test_a_repository_is_read_with_timm(
    model, images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, asked = sd.save_pretrained(model, tmp_path), []

    def download(repo_id: str, filename: str, revision: str | None = None, **_: Any) -> str:
        asked.append((repo_id, filename, revision))
        return str(folder / filename)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(timm.models._hub, "hf_hub_download", download)
    assert torch.equal(sd.from_pretrained("me/garments@v2")(images), model.eval()(images))
    assert asked[0] == ("me/garments", "config.json", "v2")
    assert ("me/garments", "model.safetensors", "v2") in asked


def test_a_name_that_ships():
    assert sd.from_pretrained("e_spikeformer_fashion").num_classes == 10


def test_what_cannot_be_built_again_is_refused(model, images, tmp_path: Path):
    with pytest.raises(InputError, match="was changed after create_model"):
        sd.save_pretrained(sd.quantize(model, images), tmp_path / "q")
    with pytest.raises(InputError, match="Linear is no network of create_model"):
        sd.save_pretrained(torch.nn.Linear(2, 2), tmp_path / "q")
    with pytest.raises(InputError, match="no such run"):
        sd.save_pretrained(tmp_path / "nothing", tmp_path / "q")
    write_atomic(tmp_path / "thesis.txt", b"mine")
    with pytest.raises(InputError, match="holds something else"):
        sd.save_pretrained(model, tmp_path)
    assert not (tmp_path / "q").exists()


def test_what_is_no_network_of_ours_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"has no config\.json"):
        sd.from_pretrained(tmp_path)
    for text, message in (
        ("[]", "does not name"),
        ('{"architecture": "resnet18"}', "'resnet18' is not registered"),
    ):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(InputError, match=message):
            sd.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="there is no such folder"):
        sd.from_pretrained("./nowhere/at/all")


def test_torch_hub():
    assert (
        torch.hub.load(str(ROOT), "sdt_2_256_cifar", source="local", num_classes=3).num_classes == 3
    )
    model = torch.hub.load(str(ROOT), "e_spikeformer_fashion", source="local", pretrained=True)
    assert model.num_classes == 10
