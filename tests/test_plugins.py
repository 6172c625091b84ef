"""A user's package beside ours: found in three ways, registered once, and named by the runs
that need it.
"""

import json
import os
import sys
import warnings
from pathlib import Path

import pytest
import yaml

from spikedriven import list_models
from spikedriven.cli import main
from spikedriven.data import create_dataset, find_set, register_data_set
from spikedriven.errors import InputError, RecipeError
from spikedriven.models import SpikeDrivenModel, Variant, register_family
from spikedriven.neurons import list_neurons, register_neuron
from spikedriven.neurons.base import Neuron
from spikedriven.plugins import VARIABLE, load_plugins, named_plugins, split_option
from spikedriven.recipes import list_recipes, load_recipe, register_recipes
from tests.plugins import taken_back

#: A family of one layer, a neuron, a surrogate, a data set and a folder of recipes.
PLUGIN = """
from pathlib import Path
import numpy as np
import torch
from torch import nn
from spikedriven.data import DataConfig, DataSet, Facts, register_data_set
from spikedriven.data.images import ArrayImages
from spikedriven.models import SpikeDrivenModel, Variant, register_family
from spikedriven.neurons import LIF, register_neuron, register_surrogate
from spikedriven.recipes import register_recipes

@register_neuron("own_lif")
class OwnLIF(LIF):
    pass

@register_surrogate("own_box", alpha=1.0)
def box(u, alpha):
    return alpha * (u.abs() < 0.5 / alpha).to(u.dtype)

class Tiny(SpikeDrivenModel):
    def __init__(self, num_classes=10, in_chans=1, img_size=28, time_steps=1, output="mean"):
        super().__init__(num_classes, in_chans, img_size, time_steps, output, "image")
        self.neuron, self.stem = OwnLIF(surrogate="own_box"), nn.Flatten(0, 1)
        self.pool, self.head = nn.Conv2d(in_chans, 8, 4, stride=4), nn.Linear(8, num_classes)

    def body(self):
        return []

    def forward_features(self, x):
        x = self.arrange(x)
        return self.neuron(self.pool(x.flatten(0, 1)).unflatten(0, x.shape[:2]))

    def head_forward(self, pooled, pre_logits=False):
        return pooled if pre_logits else self.head(pooled)

register_family(Tiny, {"own_tiny": Variant({}, num_classes=10, input_size=(1, 28, 28))})

def open_noise(cfg, folder, split):
    pixels = np.random.default_rng(split == "train").integers(0, 256, (100, 28, 28), dtype=np.uint8)
    names = [f"class {i}" for i in range(10)]
    return ArrayImages(pixels, np.arange(100) % 10, names, source="noise")

register_data_set(DataSet(
    name="own-noise", config=DataConfig, open=open_noise,
    facts=Facts(num_classes=10, size="28x28 grey", licence="ours", mean=(0.5,), std=(0.3,)),
))
register_recipes(Path(__file__).parent / "own_recipes")
"""
RECIPE = {
    "description": "one step of one layer",
    "model": {"name": "own_tiny"},
    "data": {"dataset": "own-noise", "img_size": 28, "workers": 0},
    "optim": {"name": "sgd", "lr": 0.01},
    "run": {"max_steps": 1, "batch_size": 10, "device": "cpu"},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The current folder, which holds the plugin; afterwards everything is as before."""
    (tmp_path / "own_recipes").mkdir()
    (tmp_path / "own_recipes" / "own_run.yaml").write_text(yaml.safe_dump(RECIPE))
    (tmp_path / "own_plugin.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    with taken_back():
        yield tmp_path


def said(capsys: pytest.CaptureFixture[str], argv: list[str], status: int = 0) -> str:
    assert main(argv) == status
    out = capsys.readouterr()
    return out.err if status else out.out


@pytest.mark.parametrize(
    "argv",
    [["--plugin", "own_plugin", "data", "--json"], ["data", "--json", "--plugin=own_plugin"]],
)
def test_the_option_stands_before_or_after_the_command(
    folder: Path, capsys, argv: list[str]
) -> None:
    assert "own-noise" in said(capsys, argv)
    assert "own_tiny" in list_models() and "own_lif" in list_neurons()
    assert named_plugins() == ("own_plugin",) and os.environ[VARIABLE] == "own_plugin", (
        "for children"
    )


def test_the_variable_names_several(folder: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "own_second.py").write_text(
        "def register():\n    import builtins\n    builtins.own_second = True\n"
    )
    monkeypatch.setenv(VARIABLE, "own_plugin, own_second:register")
    assert "own-noise" in said(capsys, ["data", "--json"])
    import builtins

    assert builtins.own_second and named_plugins() == ("own_plugin", "own_second:register")  # type: ignore[attr-defined]


def test_an_installed_package_is_found_by_its_entry_point(
    folder: Path, capsys, monkeypatch
) -> None:
    place = folder / "site"
    info = place / "own_package-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[spikedriven.plugins]\nown = own_installed:register\n")
    (place / "own_installed.py").write_text("def register():\n    import own_plugin\n")
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.syspath_prepend(str(folder))
    assert "own-noise" in said(capsys, ["data", "--json"])
    assert named_plugins() == (), "it needs no name"
    (place / "own_broken.py").write_text("1 / 0\n")
    (info / "entry_points.txt").write_text("[spikedriven.plugins]\nown = own_broken\n")
    error = said(capsys, ["models"], status=2)
    assert "plugin 'own' of the package own-package: ZeroDivisionError: division by zero" in error
    assert f"{place / 'own_broken.py'}, line 1" in error


def test_a_run_trains_and_says_which_plugin_it_needs(folder: Path, capsys) -> None:
    said(capsys, ["train", "own_run", "--plugin", "own_plugin"])
    assert yaml.safe_load((folder / "runs" / "own_run" / "recipe.yaml").read_text())["plugins"] == [
        "own_plugin"
    ]
    figures = json.loads(said(capsys, ["eval", "runs/own_run", "--json", "--plugin", "own_plugin"]))
    assert "own-noise" in json.dumps(figures)
    said(
        capsys,
        ["train", "runs/own_run", "--resume", "--run.max-steps", "2", "--plugin", "own_plugin"],
    )
    error = ""
    with taken_back():
        forget()
        error = said(capsys, ["eval", "runs/own_run"], status=2)
    assert "runs/own_run/recipe.yaml: needs the plugin own_plugin: add --plugin own_plugin" in error


def forget() -> None:
    """As a fresh process begins."""
    from spikedriven import plugins

    plugins._loaded.clear()
    plugins._named.clear()
    sys.modules.pop("own_plugin")


def test_reading_a_recipe_imports_nothing(folder: Path) -> None:
    path = folder / "asks.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, "plugins": ["own_plugin"]}))
    with pytest.raises(
        RecipeError, match=r"asks.yaml: needs the plugin own_plugin: add --plugin own_plugin"
    ):
        load_recipe(str(path))
    assert "own_plugin" not in sys.modules
    sys.path.insert(0, str(folder))
    import own_plugin  # noqa: F401  (in a script this is all there is to do)

    assert load_recipe(str(path)).plugins == ("own_plugin",)
    path.write_text(yaml.safe_dump({**RECIPE, "plugins": "own_plugin"}))
    with pytest.raises(RecipeError, match="'plugins': expected a list"):
        load_recipe(str(path))


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("", "own_missing", "there is no module 'own_missing'. Searched: "),
        ("", "own_x.py", "no module|A path is not a name"),
        ("", "examples/own_x.py", "A path is not a name"),
        ("", "", "expected the name of a module"),
        (
            "import own_gone",
            "own_x",
            r"ModuleNotFoundError: No module named 'own_gone' \(.*own_x.py, line 1\)",
        ),
        (
            "raise OSError('no disk')",
            "own_x",
            r"--plugin own_x: OSError: no disk \(.*own_x.py, line 1\)",
        ),
        ("x = (", "own_x", r"own_x: '\(' was never closed \(.*own_x.py, line 1\)"),
        ("", "own_x:register", "has no function register"),
        ("def f():\n  raise KeyError('k')", "own_x:f", r"KeyError: 'k' \(.*own_x.py, line 2\)"),
    ],
)
def test_what_is_wrong_with_a_plugin_is_said(
    folder: Path, text: str, name: str, message: str
) -> None:
    (folder / "own_x.py").write_text(text)
    with pytest.raises(InputError, match=message):
        load_plugins([name])


def test_the_option_needs_a_value(capsys) -> None:
    assert split_option(["train", "--plugin", "a", "x", "--plugin=b"]) == (
        ["train", "x"],
        ["a", "b"],
    )
    assert "--plugin : expected the name of a module" in said(
        capsys, ["models", "--plugin"], status=2
    )


def test_a_name_that_is_taken_is_refused(folder: Path) -> None:
    load_plugins(["own_plugin"])
    tiny = sys.modules["own_plugin"].Tiny
    variant = Variant({}, num_classes=10, input_size=(1, 28, 28))
    register_family(tiny, {"own_again": variant})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # young versions of timm say that they overwrite
        register_family(tiny, {"own_again": variant})  # as when a notebook's cell runs again
    with pytest.raises(InputError, match=r"'sdt_8_512' belongs to spikedriven.models.sdt.SDT"):
        register_family(tiny, {"sdt_8_512": variant})
    with pytest.raises(InputError, match="'resnet18' belongs to a model of timm"):
        register_family(tiny, {"resnet18": variant})
    with pytest.raises(InputError, match=r"cannot be called 'a.b'"):
        register_family(tiny, {"a.b": variant})
    with pytest.raises(InputError, match="own_odd has no keyword 'width'"):
        register_family(tiny, {"own_odd": Variant({"width": 3}, num_classes=10)})
    with pytest.raises(InputError, match=r"'lif' belongs to spikedriven.neurons.lif.LIF"):
        register_neuron("lif")(type("Other", (Neuron,), {}))
    with pytest.raises(InputError, match=r"own_run.yaml: the name 'own_run' belongs to /"):
        (folder / "more").mkdir()
        (folder / "more" / "own_run.yaml").write_text("")
        register_recipes(folder / "more")
    with pytest.raises(InputError, match="is no folder with recipes"):
        register_recipes(folder / "nowhere")
    with pytest.raises(InputError, match="'own-noise' belongs to another data set"):
        register_data_set(find_set("own-noise"))


def test_a_family_is_asked_for_its_keywords() -> None:
    class Bare(SpikeDrivenModel):
        def __init__(self, num_classes: int = 10, in_chans: int = 1) -> None:
            raise AssertionError

    with (
        taken_back(),
        pytest.raises(InputError, match="Bare has no keyword img_size, time_steps, output"),
    ):
        register_family(Bare, {"own_bare": Variant({})})
    with taken_back(), pytest.raises(InputError, match="is no family: derive it from"):
        register_family(dict, {"own_dict": Variant({})})  # type: ignore[arg-type]


def test_what_a_plugin_registers_is_used_as_ours(folder: Path) -> None:
    load_plugins(["own_plugin"])
    assert "own_run" in list_recipes() and load_recipe("own_run").model.name == "own_tiny"
    assert len(create_dataset("own-noise", "test")) == 100
