"""`spikedriven train` through whole pipelines, at toy length: what one stage saves, the next
one starts from.
"""

import json
from pathlib import Path

import pytest

from spikedriven.cli import main

# 200 train and 200 validation images of 16 x 16, ten steps an epoch.
SMALL = """
  img_size: 16
  workers: 0
  val_fraction: 0.02
  train_fraction: 0.0205
optim: {lr: 3e-3}
schedule: {kind: cosine_iter, epochs: 1}
run: {device: cpu, batch_size: 20, log_steps: 1}
"""
WIDTHS = (
    "embed_dims: [8, 16, 16], depths: [1, 1, 1, 2], strides: [2, 2, 1, 1], num_heads: 2, "
    "mlp_ratio: 1"
)
ENCODER = f"{WIDTHS}, rep_branch: false"
STAGES = {
    "pretrain": f"""
task: pretraining
model:
  name: spike_mae_12_512
  args: {{{ENCODER}, decoder_dim: 8, decoder_depth: 1, decoder_num_heads: 2,
         permute_tokens: false, mask_tokens: true}}
data:{SMALL}""",
    "finetune": f"""
model:
  name: e_spikeformer_83m
  args: {{{ENCODER}}}
  init: pretrain
  init_strict: false
data:
  mixup: 0.8
  smoothing: 0.1{SMALL.replace("{lr: 3e-3}", "{name: lamb, blr: 6e-4, layer_decay: 0.75}")}""",
    "distil": """
base: finetune
task: distillation
model:
  args: {distilled: true}
  init: finetune
distill: {teacher: cnn}
""",
    "cnn": f"""
model: {{name: timm/test_resnet, args: {{output_stride: 8}}}}
data:{SMALL}""",
    "t1": f"""
model:
  name: meta_spikeformer_15m
  time_steps: 1
  args: {{embed_dims: [8, 16, 16, 16], depths: [1, 1, 1, 1, 1], strides: [2, 2, 1, 1, 1],
         num_heads: 2, mlp_ratio: 1}}
data:{SMALL}""",
    "t4": """
base: t1
task: distillation
model: {time_steps: 4, args: {distilled: true}, init: t1, init_strict: false}
distill: {teacher: cnn, kind: soft, tau: 2.0}
""",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in STAGES.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(name: str) -> dict:
    """Run one stage; the record of what it started from."""
    assert main(["train", f"{name}.yaml", "--run.out", name]) == 0
    lines = [json.loads(line) for line in Path(name, "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == list(range(1, 11))
    return next((line for line in lines if line["kind"] == "init"), {})


def assert_evaluates(capsys: pytest.CaptureFixture[str], *words: str) -> None:
    capsys.readouterr()
    assert main(["eval", *words, "--split", "val", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 200


def test_pre_training_then_fine_tuning_then_distillation(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("pretrain") == {}
    taken = train("finetune")
    assert {key.rsplit(".", 1)[1] for key in taken["missing"] if not key.startswith("head.")} == {
        "scale"
    }
    assert taken["misshapen"] == [] and any(
        key.startswith("decoder") for key in taken["unexpected"]
    )
    train("cnn")
    taken = train("distil")
    assert taken["missing"] == ["head_kd.bias", "head_kd.weight"] and not taken["unexpected"]
    (folder / "cnn").rename(folder / "gone")
    assert_evaluates(capsys, "distil")  # a student needs its teacher no more


def test_one_step_then_four_with_a_teacher(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train("cnn")
    assert_evaluates(capsys, "cnn")
    train("t1")
    assert_evaluates(capsys, "t1", "--img-size", "24", "--crop-pct", "1.0")  # another resolution
    taken = train("t4")
    assert taken["missing"] == ["head_kd.bias", "head_kd.weight"] and not taken["unexpected"]
    assert_evaluates(capsys, "t4")
