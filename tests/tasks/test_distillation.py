"""What the teacher is shown, what it contributes to the loss, and which teachers are refused."""

import dataclasses
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikedriven.errors import CheckpointError, RecipeError
from spikedriven.recipes.types import DistillConfig, LossConfig, ModelConfig
from spikedriven.runs.checkpoint import load_run
from spikedriven.runs.networks import build_timm
from spikedriven.tasks import create_task
from spikedriven.tasks.distillation import DistillationTask, load_teacher
from spikedriven.tasks.losses import distillation_loss
from tests.tasks.toys import DATA, classifier, recipe
from tests.training.toys import train

CNN = "timm/test_resnet"


@pytest.fixture(scope="module")
def cnn_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("teacher") / "cnn.safetensors"
    safetensors.torch.save_file(build_timm(CNN, num_classes=10, in_chans=1).state_dict(), path)
    return path


def task(cnn_file: Path, **distill) -> DistillationTask:
    options = DistillConfig(teacher=CNN, checkpoint=cnn_file, **distill)
    return create_task(recipe(classifier(distilled=True), "distillation", distill=options))  # type: ignore[return-value]


class Answers(nn.Module):
    """Gives fixed answers, and remembers what it was shown."""

    def __init__(self, answers: Tensor | tuple[Tensor, Tensor]) -> None:
        super().__init__()
        self.answers, self.shown = answers, []

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        self.shown.append(images)
        return self.answers


def loss_of(
    task: DistillationTask, student: Tensor | tuple[Tensor, Tensor], teacher: Tensor, labels: Tensor
) -> float:
    images = torch.randn(len(labels), 1, 4, 4)
    task.teacher = Answers(teacher)
    loss = task.loss(Answers(student), (images, labels))
    assert task.teacher.shown[0] is images, "the teacher sees what the network sees"
    return loss.item()


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_labels_teach_the_first_head_and_the_teacher_the_second(kind: str, cnn_file: Path) -> None:
    first, second, teacher = torch.randn(3, 4, 10, dtype=torch.float64)
    labels = torch.tensor([1, 3, 5, 9])
    tau = {"tau": 2.0} if kind == "soft" else {}
    ours = loss_of(task(cnn_file, kind=kind, alpha=0.3, **tau), (first, second), teacher, labels)
    expected = 0.7 * F.cross_entropy(first, labels) + 0.3 * distillation_loss(
        second, teacher, kind, 2.0
    )
    assert ours == pytest.approx(expected.item(), rel=1e-12)
    plain = loss_of(task(cnn_file, kind=kind, alpha=0.3, **tau), first, teacher, labels)
    expected = 0.7 * F.cross_entropy(first, labels) + 0.3 * distillation_loss(
        first, teacher, kind, 2.0
    )
    assert plain == pytest.approx(expected.item(), rel=1e-12), (
        "a network with one head learns both with it"
    )


def test_steps_meet_the_teacher_as_their_mean(cnn_file: Path) -> None:
    steps, teacher, labels = (
        torch.randn(3, 4, 10).double(),
        torch.randn(4, 10).double(),
        torch.tensor([1, 3, 5, 9]),
    )
    with_tet = dataclasses.replace(task(cnn_file).recipe, loss=LossConfig(tet=True, tet_lamb=0.0))
    ours = loss_of(DistillationTask(with_tet), steps, teacher, labels)
    labelled = torch.stack([F.cross_entropy(step, labels) for step in steps]).mean()
    expected = 0.5 * labelled + 0.5 * F.cross_entropy(steps.mean(0), teacher.argmax(1))
    assert ours == pytest.approx(expected.item(), rel=1e-12)


def test_the_teacher_has_the_file_and_does_not_learn(cnn_file: Path, tmp_path: Path) -> None:
    trainer, _ = train(task(cnn_file).recipe, tmp_path / "r")
    weights = safetensors.torch.load_file(cnn_file)
    teacher = trainer.task.teacher
    assert not teacher.training and not any(p.requires_grad for p in teacher.parameters())
    assert all(torch.equal(value, weights[key]) for key, value in teacher.state_dict().items())
    head_kd = trainer.learner.net.head_kd.weight
    assert head_kd.grad is not None and head_kd.grad.abs().sum() > 0


def test_a_run_is_a_teacher_and_its_student_outlives_it(tmp_path: Path) -> None:
    train(recipe(ModelConfig(name=CNN)), tmp_path / "teacher")
    student = recipe(
        classifier(), "distillation", distill=DistillConfig(teacher=str(tmp_path / "teacher"))
    )
    train(student, tmp_path / "student")
    (tmp_path / "teacher").rename(tmp_path / "gone")
    model, stored = load_run(tmp_path / "student")
    assert stored.task == "distillation" and model(torch.zeros(1, 1, 16, 16)).shape == (1, 10)


def test_teachers_of_other_images_are_refused(tmp_path: Path) -> None:
    train(
        recipe(ModelConfig(name=CNN), data=dataclasses.replace(DATA, mean=(0.5,))), tmp_path / "t"
    )
    student = recipe(
        classifier(), "distillation", distill=DistillConfig(teacher=str(tmp_path / "t"))
    )
    with pytest.raises(RecipeError, match=r"mean and std is \(\(0\.5,\), .*must be the same"):
        load_teacher(student)


def test_a_file_of_another_network_is_refused(cnn_file: Path) -> None:
    distill = DistillConfig(teacher="timm/test_vit", checkpoint=cnn_file)
    with pytest.raises((CheckpointError, RecipeError)):
        load_teacher(recipe(classifier(), "distillation", distill=distill))


def test_pretrained_weights_of_other_classes_are_refused() -> None:
    distill = DistillConfig(teacher="timm/caformer_b36.sail_in22k_ft_in1k")
    with pytest.raises(
        RecipeError, match=r"tell 1000 classes apart, the data set has 10; give distill\.checkpoint"
    ):
        load_teacher(recipe(classifier(), "distillation", distill=distill))


def test_recipes_that_contradict_themselves() -> None:
    with pytest.raises(RecipeError, match="needs a teacher"):
        create_task(recipe(classifier(), "distillation"))
    with pytest.raises(RecipeError, match="only the task distillation has a teacher"):
        recipe(classifier(), distill=DistillConfig(teacher=CNN))
    with pytest.raises(RecipeError, match=r"distill\.alpha: found 1\.5, expected a number in"):
        DistillConfig(alpha=1.5)
    with pytest.raises(RecipeError, match=r"distill\.tau"):
        DistillConfig(tau=0.0)
    with pytest.raises(RecipeError, match=r"only where distill\.teacher is one of timm's"):
        distill = DistillConfig(teacher="runs/x", checkpoint=Path("x.safetensors"))
        load_teacher(recipe(classifier(), "distillation", distill=distill))


def test_two_heads_without_a_teacher_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="use task: distillation"):
        train(recipe(classifier(distilled=True)), tmp_path / "r")
