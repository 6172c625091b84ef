"""The card of a published network: what it is, how to use it, what was measured, how it was
trained.
"""

from spikedriven.graph.energy import EnergyReport
from spikedriven.hub.subject import Published
from spikedriven.models.names import class_names
from spikedriven.recipes.reading import recipe_to_yaml


def card(found: Published, license: str | None = None, repo_id: str = "") -> str:
    """Markdown with the Hub's header. Every figure in it was measured by the call that writes
    it.
    """
    parts = [
        _header(license),
        f"# {repo_id.rpartition('/')[2] or found.name}\n",
        _what(found),
        _use(repo_id),
        "## Measured\n\n" + _table(found),
        _training(found),
    ]
    return "\n".join(part for part in parts if part)


def _header(license: str | None) -> str:
    tags = ("image-classification", "timm", "spikedriven", "spiking-neural-network")
    lines = ["---", *(f"license: {name}" for name in [license] if name), "library_name: timm"]
    return "\n".join(
        [
            *lines,
            "pipeline_tag: image-classification",
            "tags:",
            *(f"- {tag}" for tag in tags),
            "---",
            "",
        ]
    )


def _what(found: Published) -> str:
    model = found.model
    size = sum(p.numel() for p in model.parameters())
    kind = "event frames" if model.input_layout == "events" else "images"
    height, width = model.img_size
    labels = class_names(model)
    named = f"\nClasses: {', '.join(labels)}.\n" if labels else ""
    return (
        f"A spike-driven vision transformer: `{found.name}` of "
        f"[spikedriven](https://pypi.org/project/spikedriven/), {size:,} parameters, T = "
        f"{model.time_steps}.\n"
        f"It reads {kind} {model.in_chans}x{height}x{width} and tells {model.num_classes} classes "
        f"apart.\n{named}"
    )


def _use(repo_id: str) -> str:
    source = repo_id or "FOLDER"
    prefix = "hf-hub" if repo_id else "local-dir"
    return (
        "## Use\n\n```python\nimport spikedriven as sd\n\n"
        f'model = sd.from_pretrained("{source}")\n'
        f'# or, after the import: timm.create_model("{prefix}:{source}", pretrained=True)\n```\n'
    )


def _table(found: Published) -> str:
    rows = [("audit", found.audit.verdict().replace("\n", " "))]
    if found.accuracy is not None:
        rows.insert(0, ("accuracy", f"top-1 {found.accuracy.top1:.2f} % ({found.data})"))
    if not found.energies:
        rows.append(("firing rate, energy", "not measured: no images were given"))
    for report in found.energies[:1]:
        rate = report.comparison.mean_rate
        rows.append(
            (
                "firing rate",
                f"{rate:.4f} spikes per input element and binary step ({found.measured_on})",
            )
        )
    rows += [
        (f"energy, convention {report.convention.name}", _energy(report))
        for report in found.energies
    ]
    lines = [f"| {name} | {value} |" for name, value in rows]
    return "\n".join(["| | |", "|---|---|", *lines, ""])


def _energy(report: EnergyReport) -> str:
    ann = report.comparison.partner("int8")
    memory = "arithmetic and memory" if report.memory is not None else "arithmetic alone"
    return (
        f"{report.total_mj:.4g} mJ per image, {memory}; an ANN of the same shape in int8: "
        f"{ann.ann_mj:.4g} mJ"
    )


def _training(found: Published) -> str:
    if found.recipe is None:
        return ""
    return f"## Training\n\n{found.selection}\n\n```yaml\n{recipe_to_yaml(found.recipe)}```\n"
