"""Published detectors and segmenters by NAME.TAG: files as the authors' training would leave them,
made from small networks of ours in the release's key names, go through the commands.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from spikedriven.cli import main
from spikedriven.models.create import create_network
from spikedriven.models.official import official_state_dict
from spikedriven.models.tags import PublishedFile, list_files
from spikedriven.runs.target import Target, load_target
from tests.data.detection.coco_files import content, write
from tests.data.segmentation.folders import make_ade, make_voc_aug
from tests.networks import enliven

FILES = {
    file.full_name: file
    for task in ("detection", "segmentation")
    for file in list_files()
    if file.task == task
}
BODY = {"embed_dims": [8, 16, 16, 16], "depths": [1, 1, 1, 1, 1], "num_heads": 2, "mlp_ratio": 1}
SEGMENTER: dict[str, Any] = {"backbone_args": {**BODY, "img_size": 64}}
DETECTOR: dict[str, Any] = {
    "backbone_args": BODY,
    "width": 16,
    "convs": 1,
    "min_size": 64,
    "max_size": 96,
    "detections": 5,
    "graph_rois": 4,
    "score_thresh": 0.0,
}
TWO_STAGES = {"head_width": 16, "proposals": 20, "finest": 28}


def small(file: PublishedFile) -> dict[str, Any]:
    """Keywords that make the network of a tag small. Neurons where the tag leaves them open."""
    if file.task == "segmentation":
        return (
            SEGMENTER
            | ({} if file.name == "fcn" else {"width": 16})
            | ({"width": None} if file.name == "fcn" else {})
        )
    return DETECTOR | (TWO_STAGES if file.name != "retinanet" else {}) | open_words(file)


def open_words(file: PublishedFile) -> dict[str, Any]:
    return {} if "neuron" in file.args else {"neuron": "lif"}


def words(keywords: dict[str, Any]) -> list[str]:
    """On the command line."""
    found = []
    for key, value in keywords.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        for name, one in inner:
            found += [f"--model.args.{key}{'.' if name else ''}{name}", json.dumps(one)]
    return found


def imitation(file: PublishedFile, path: Path) -> dict[str, torch.Tensor]:
    """What MMEngine would save: weights beside their origin."""
    model = enliven(create_network(file.full_name, **small(file)))
    weights = official_state_dict(model)
    torch.save({"meta": {"epoch": 12, "iter": 3}, "state_dict": weights}, path)
    return weights


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ADE20K, VOC with SBD, and COCO of 80 classes, a few images each."""
    root = tmp_path_factory.mktemp("data")
    make_ade(root, counts=(1, 1), size=(24, 30))
    make_voc_aug(root, size=(24, 30))
    instances = content()
    others = [{"id": 1000 + i, "name": f"thing {i}"} for i in range(78)]
    write(root, {**instances, "categories": [*instances["categories"], *others]})
    return root


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert main([*arguments]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_every_published_configuration_is_here() -> None:
    assert len(FILES) == 20 and {file.name for file in FILES.values()} == {
        "mask_rcnn", "cascade_mask_rcnn", "retinanet", "semantic_fpn", "fcn",
    }  # fmt: skip


@pytest.mark.parametrize("full_name", FILES)
def test_eval_convert_and_back(
    full_name: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = FILES[full_name]
    theirs = imitation(file, tmp_path / "authors.pth")
    network = [full_name, *words(small(file))]
    resize = ["--resize", "80", "64"] if file.task == "segmentation" else []
    common = ["--root", str(data), "--workers", "0", "--json", *resize]
    found = told(capsys, "eval", *network, "--checkpoint", str(tmp_path / "authors.pth"), *common)
    assert found["settings"]["network"] == full_name
    converted = tmp_path / "ours.safetensors"
    assert (
        main(
            [
                "convert",
                full_name,
                str(tmp_path / "authors.pth"),
                str(converted),
                *words(small(file)),
            ]
        )
        == 0
    )
    again = told(
        capsys, "eval", file.name, "--data", file.dataset, "--checkpoint", str(converted), *common
    )
    assert again["settings"]["network"] == full_name, "the header knows the rest"
    figure = "box_map" if file.task == "detection" else "loss"
    assert again[figure] == pytest.approx(found[figure])
    back = official_state_dict(load_target(Target(file.name, checkpoint=converted)).model)
    assert back.keys() == theirs.keys() and all(
        torch.equal(back[key], theirs[key]) for key in theirs
    )


def test_the_size_of_images_is_that_of_the_published_configurations(
    data: Path, tmp_path: Path, capsys
) -> None:
    for full_name, expected in (
        (
            "semantic_fpn.e_spikeformer_10m_ade20k",
            {"resize": [2048, 512], "test_scales": [1.0], "slide": None},
        ),
        ("mask_rcnn.e_spikeformer_10m_coco", {"test_size": 64, "max_size": 96}),
    ):
        imitation(FILES[full_name], tmp_path / "authors.pth")
        network = [
            full_name,
            *words(small(FILES[full_name])),
            "--checkpoint",
            str(tmp_path / "authors.pth"),
        ]
        samples = told(capsys, "eval", *network, "--root", str(data), "--json")["settings"][
            "samples"
        ]
        assert expected.items() <= samples.items()
    with torch.device("meta"):
        whole = create_network("mask_rcnn.e_spikeformer_10m_coco")
    assert whole.transform.min_size == (800,) and whole.transform.max_size == 1333


def test_a_file_without_a_tag_is_asked_about(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "authors.pth")
    imitation(FILES["semantic_fpn.e_spikeformer_10m_ade20k"], Path(path))
    words = ["eval", "semantic_fpn", "--checkpoint", path, "--data", "ade20k", "--root", str(data)]
    for known, asked in (
        ([], ("backbone", "mode", "neuron")),
        (
            ["--model.args.backbone", "e_spikeformer_10m"],
            ("mode", "neuron", "backbone_args.levels"),
        ),
        (["--model.args.backbone", "meta_spikeformer_15m"], ("backbone_args.time_steps",)),
    ):
        assert main([*words, *known]) == 2
        message = capsys.readouterr().err
        assert all(f"--model.args.{key} VALUE" in message for key in asked)
        assert "semantic_fpn.e_spikeformer_10m_ade20k" in message or known


def test_neurons_that_nobody_recorded_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = FILES["mask_rcnn.meta_spikeformer_15m_coco_t1"]
    imitation(file, tmp_path / "authors.pth")
    kept = {key: value for key, value in small(file).items() if key != "neuron"}
    assert (
        main(["eval", file.full_name, "--checkpoint", str(tmp_path / "authors.pth"), *words(kept)])
        == 2
    )
    assert "--model.args.neuron VALUE" in capsys.readouterr().err


def test_a_file_of_another_configuration_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = FILES["semantic_fpn.e_spikeformer_10m_ade20k"]
    imitation(file, tmp_path / "authors.pth")
    wider = words(small(file) | {"width": 24})
    assert (
        main(["eval", file.full_name, "--checkpoint", str(tmp_path / "authors.pth"), *wider]) == 2
    )
    assert "neck.lateral_convs.0.0.weight" in capsys.readouterr().err


def test_levels_and_time_steps_change_what_a_file_computes(tmp_path: Path) -> None:
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for full_name, other in (
        ("semantic_fpn.e_spikeformer_10m_ade20k", {"levels": 1}),
        ("semantic_fpn.e_spikeformer_10m_ade20k", {"backbone_args": {"levels": 8}}),
        ("semantic_fpn.meta_spikeformer_15m_ade20k_t4", {"time_steps": 1}),
    ):
        file, path = FILES[full_name], tmp_path / "authors.pth"
        imitation(file, path)
        right = load_target(Target(full_name, checkpoint=path, model_args=small(file))).model
        body = small(file)["backbone_args"] | other.get("backbone_args", {})
        said = small(file) | other | {"backbone_args": body}
        wrong = load_target(Target(full_name, checkpoint=path, model_args=said)).model
        with torch.no_grad():
            assert right(x).std() > 0 and not torch.allclose(right(x), wrong(x))


def test_a_set_of_other_classes_or_another_task_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = FILES["semantic_fpn.meta_spikeformer_15m_voc12aug_t1"]
    imitation(file, tmp_path / "authors.pth")
    network = [
        "eval",
        file.full_name,
        *words(small(file)),
        "--checkpoint",
        str(tmp_path / "authors.pth"),
    ]
    assert main([*network, "--data", "voc2012", "--root", str(data)]) == 2
    assert "tells 150 classes apart, but voc2012 has 21" in capsys.readouterr().err
    assert main([*network, "--data", "coco2017", "--root", str(data)]) == 2
    assert "'coco2017' is a data set for detection" in capsys.readouterr().err


def test_predict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (40, 30), (200, 10, 90)).save(tmp_path / "scene.png")
    for full_name, task in (
        ("semantic_fpn.e_spikeformer_10m_ade20k", "segmentation"),
        ("cascade_mask_rcnn.e_spikeformer_19m_coco", "detection"),
    ):
        file = FILES[full_name]
        imitation(file, tmp_path / "authors.pth")
        network = ["predict", full_name, str(tmp_path / "scene.png"), *words(small(file))]
        network += ["--checkpoint", str(tmp_path / "authors.pth")]
        (record,) = told(capsys, *network, "--score", "0", "--out", str(tmp_path), "--json")
        assert record["task"] == task and Path(record["drawn"]).stat().st_size > 500


@pytest.mark.parametrize(
    "full_name",
    [
        "fcn.meta_spikeformer_15m_ade20k_t4",
        pytest.param("cascade_mask_rcnn.e_spikeformer_19m_coco", marks=pytest.mark.slow),
    ],
)
def test_energy(full_name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = FILES[full_name]
    imitation(file, tmp_path / "authors.pth")
    words_ = [
        full_name,
        *words(small(file)),
        "--checkpoint",
        str(tmp_path / "authors.pth"),
        "--json",
    ]
    assert told(capsys, "energy", *words_)["reports"]
