"""The model card of an export: architecture, training data, results, limitations, versions, usage and citation.

Flow: ``core.exporting.export`` collects the facts -> `model_card` -> ``README.md``, with metadata for model hubs
(Mitchell et al., "Model cards for model reporting", 2019).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath
from typing import Any

import core
from core.evaluation.report import Report, table
from core.spec.config import RunConfig
from core.spec.presets import PRESETS
from core.spec.run.events import RunStarted
from core.spec.run.export_forms import EXPORT_FORMS, ExportPrecision, Form

_MARKDOWN = re.compile(r"([\\`*{}\[\]<>#|~&!]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
_BACKTICKS = re.compile(r"`{3,}")
_PACKAGES = ("torch", "open_clip_torch")  # used to compute the weights
_SPLITS = {
    "val": "validation data, which may have been used to select the checkpoint",
    "test": "test data",
    "retain": "retained data",
}
# Must match CITATION.cff; a test compares them.
CITATION = """@software{{sdgui,
  title = {{sdgui}},
  author = {{{{The sdgui authors}}}},
  version = {{{version}}},
  url = {{https://github.com/sdgui/sdgui}}
}}"""


@dataclass(frozen=True)
class CardFacts:
    """The content of a card."""

    title: str
    form: Form
    folder: str
    licence: str
    model_cfg: Mapping[str, Any]
    parameters: int
    network: str = ""  # student or teacher
    config: RunConfig | None = None  # of a run
    step: int = 0
    interpolation: str = ""  # of which models the weights are interpolated, a sentence
    started: RunStarted | None = None  # data, device and precision of the training
    validation: Mapping[str, float] = field(default_factory=dict)
    reports: Sequence[Report] = ()
    precision: ExportPrecision = "fp32"  # of the weights in the files
    computed: str = "fp32"  # precision of evaluation
    left_out: Sequence[str] = ()  # parts of the network that the format does not support


def model_card(facts: CardFacts) -> str:
    """The card as Markdown. Names and texts from the run are escaped."""
    title = f"# {_text(facts.title)}"
    sections = (_training, _results, _limitations, _use, _versions, _citation)
    parts = [_head(facts), title, _summary(facts), *(section(facts) for section in sections)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(facts: CardFacts) -> str:
    licence = f"license: {json.dumps(facts.licence)}\n" if facts.licence else ""
    library = f"library_name: {EXPORT_FORMS[facts.form].library}\n"
    return f"---\n{library}{licence}pipeline_tag: zero-shot-image-classification\ntags:\n- clip\n---"


def _summary(facts: CardFacts) -> str:
    vision, text = facts.model_cfg["vision_cfg"], facts.model_cfg["text_cfg"]
    kind = "CoCa" if facts.model_cfg.get("multimodal_cfg") else "CLIP"
    lines = [
        f"A {kind} with {facts.parameters / 1e6:.1f} million parameters: images of {vision['image_size']} pixels, "
        f"captions of {text.get('context_length', 77)} tokens, embeddings of {facts.model_cfg['embed_dim']} dimensions."
    ]
    if facts.interpolation:
        lines.append(_text(facts.interpolation))
    elif facts.network:
        lines.append(f"These are the weights of the {facts.network} after {_steps(facts)}.")
    rounded = "" if facts.precision == "fp32" else ", rounded from fp32"
    lines.append(f"The weights are stored in {facts.precision}{rounded}.")
    if facts.left_out:
        lines.append(f"Not included in this format: {', '.join(facts.left_out)}.")
    licence = _text(facts.licence) or "not stated; ask the authors of the model before you use it"
    lines.append(f"Licence: {licence}. The licence of its training data may restrict its use further.")
    return "\n\n".join(lines)


def _steps(facts: CardFacts) -> str:
    total = facts.started.total_steps if facts.started is not None else 0
    return f"{facts.step:,} of {total:,} steps" if total > facts.step else f"{facts.step:,} steps"


def _training(facts: CardFacts) -> str:
    config, started = facts.config, facts.started
    if config is None:
        return "## Training\n\nIt was trained elsewhere. See its publisher's description of the training data."
    preset = PRESETS.get(config.preset)
    rows = [
        ("recipe", f"{preset.title} ({preset.paper})" if preset is not None else "custom config"),
        ("training data", f"{PurePath(config.data.train).name}, {started.pairs if started else 0:,} pairs"),
        ("validation data", PurePath(config.data.val).name if config.data.val else "none"),
        ("steps", _steps(facts)),
        ("batch", f"{config.optim.batch_size}"),
        ("learning rate", f"{config.optim.learning_rate:g}"),
        ("precision", f"{started.precision}, on {started.device}" if started else ""),
        ("started from", PurePath(config.towers.pretrained).name or "random weights"),
        ("seed", f"{config.seed}"),
        ("config", f"digest {config.digest()}, all of it in config.json"),
    ]
    return "## Training\n\n" + _rows(("", ""), rows)


def _without_folders(report: Report) -> Report:
    """Removes local folders: the card is published."""
    subject = report.subject
    names = {"model": PurePath(subject.model).name, "dataset": PurePath(subject.dataset).name}
    return replace(report, subject=replace(subject, **names))


def _results(facts: CardFacts) -> str:
    parts = []
    splits: dict[str, list[tuple[str, str]]] = {}
    for name, value in sorted(facts.validation.items()):
        split, _, metric = name.partition("/")
        splits.setdefault(split, []).append((metric, f"{value:.4g}"))
    for split, rows in splits.items():
        parts.append(f"On the {_SPLITS.get(split, split)}:\n\n{_rows(('metric', 'value'), rows)}")
    for report in facts.reports:
        report_table = _BACKTICKS.sub("``", table(_without_folders(report)))
        parts.append(f"With 95 % intervals over queries:\n\n```\n{report_table}\n```")
    if parts:
        rounded = "" if facts.precision == facts.computed else f"; the weights in {facts.precision} were not evaluated"
        parts.append(f"Evaluated in {facts.computed}{rounded}.")
    else:
        parts.append("It has not been evaluated. Do so before you rely on it.")
    return "## Results\n\n" + "\n\n".join(parts)


def _limitations(facts: CardFacts) -> str:
    length, side = facts.model_cfg["text_cfg"].get("context_length", 77), facts.model_cfg["vision_cfg"]["image_size"]
    points = [
        f"Captions are truncated to {length} tokens, and images are resized to {side} pixels: details are lost.",
        "It reproduces errors and biases of its training data. It has not been tested for bias, and should not be used "
        "for decisions about people.",
    ]
    if facts.started is not None and facts.started.pairs:
        points.insert(0, f"It was trained on {facts.started.pairs:,} pairs. Evaluate it before use on other data.")
    if facts.form == "onnx":
        points.append("tokenizer.json does not clean captions like open_clip (broken encodings, HTML entities).")
    return "## Limitations\n\n" + "\n".join(f"- {point}" for point in points)


def _use(facts: CardFacts) -> str:
    return f"## Use\n\n```python\n{EXPORT_FORMS[facts.form].how_to_open(facts.folder)}\n```"


def _versions(facts: CardFacts) -> str:
    parts = [f"sdgui {core.__version__}", *(f"{name} {_version(name)}" for name in _PACKAGES)]
    return f"## Versions\n\nExported with {', '.join(parts)}."


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(unknown version)"


def _citation(facts: CardFacts) -> str:
    software = f"```bibtex\n{CITATION.format(version=core.__version__)}\n```"
    preset = PRESETS.get(facts.config.preset) if facts.config is not None else None
    paper = f"\n\nThe method: {_text(preset.paper)}." if preset is not None and preset.paper else ""
    return f"## Citation\n\n{software}{paper}"


def _rows(head: tuple[str, str], rows: Sequence[tuple[str, str]]) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {_text(name)} | {_text(value)} |" for name, value in rows)])


def _text(text: str) -> str:
    """``text`` on one line, with Markdown escaped."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return _MARKDOWN.sub(r"\\\1", " ".join(printable.split()))
