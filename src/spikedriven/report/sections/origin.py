"""How to make this page again: commands, versions, machine, recipe."""

import shlex

from spikedriven.recipes.reading import recipe_to_yaml
from spikedriven.report.environment import environment
from spikedriven.report.findings import Findings
from spikedriven.report.html import Html, details, section, table, tag


def origin(found: Findings) -> Html:
    return section(
        "origin",
        "How this was made",
        tag("h3", "Commands"),
        _commands(found),
        tag("h3", "Environment of this page"),
        tag(
            "p",
            "Of the measurements on this page; the log of a run does not record the machine it "
            "trained on.",
        ),
        table("Versions and machine", ("what", "value"), _environment(found)),
        _recipe(found),
    )


def _commands(found: Findings) -> Html:
    if found.subject.given is not None:
        text = (
            "From Python: spikedriven.report.write_report(model, out, batches), with the network "
            "and its batches."
        )
        return tag("p", text)
    lines = [shlex.join(words) for words in commands(found)]
    return tag(
        "pre", tag("code", "\n".join(lines)), tabindex=0, role="group", aria_label="Commands"
    )


def commands(found: Findings) -> list[list[str]]:
    """Command lines that compute again what the page shows."""
    subject, request = found.subject, found.subject.request
    if subject.given is not None:
        return []  # no command knows a network that was handed in
    named = _options(request, ("checkpoint", "num_classes", "img_size", "time_steps"))
    data, form = _options(request, ("data", "root")), _options(request, ("form",))
    lines = []
    if subject.run is not None:
        lines.append(
            ["spikedriven", "train", str(subject.run / "recipe.yaml"), "--run.out", "NEW_FOLDER"]
        )
    if found.accuracy is not None or found.dense is not None:
        lines.append(
            ["spikedriven", "eval", request.target, *named, *data, "--split", request.split]
        )
    lines.append(
        ["spikedriven", "energy", request.target, *named, *data, *form, "--convention", "all"]
    )
    lines.append(["spikedriven", "audit", request.target, *named])
    lines.append(["spikedriven", "firing", request.target, *named, *data, "--out", "firing.csv"])
    lines.append(["spikedriven", "attention", request.target, "IMAGE", *named])
    everything = _options(
        request, ("split", "accuracy_images", "images", "samples", "maps", "batch_size", "form")
    )
    lines.append(["spikedriven", "report", request.target, *named, *data, *everything])
    return lines


def _options(request: object, names: tuple[str, ...]) -> list[str]:
    given = [(name, getattr(request, name)) for name in names]
    return [
        word
        for name, v in given
        if v is not None
        for word in (f"--{name.replace('_', '-')}", str(v))
    ]


def _environment(found: Findings) -> list[tuple[str, str]]:
    subject = found.subject
    rows = list(environment().items())
    if subject.recipe is not None:
        rows.insert(0, ("seed of the run", str(subject.recipe.run.seed)))
    if subject.selection is not None:
        rows.insert(0, ("why this checkpoint", str(subject.selection)))
    if subject.checkpoint is not None:
        rows.insert(0, ("checkpoint", str(subject.checkpoint)))
    return rows


def _recipe(found: Findings) -> Html:
    if found.subject.recipe is None:
        return Html("")
    text = tag(
        "pre",
        tag("code", recipe_to_yaml(found.subject.recipe)),
        tabindex=0,
        role="group",
        aria_label="Recipe",
    )
    return details("The effective recipe (YAML)", text)
