"""The model card of an export: architecture, training data, results, limitations, versions, usage and citation.

Flow: ``core.exporting.export`` collects a `CardContent` -> `model_card` -> ``README.md``, with metadata for model hubs
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
from core.spec.run.export_formats import EXPORT_FORMATS, ExportPrecision, FormatName

_MARKDOWN = re.compile(r"([\\`*{}\[\]<>#|~&!]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
_BACKTICKS = re.compile(r"`{3,}")
_PACKAGES = ("torch", "open_clip_torch")  # packages that compute the weights
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
class CardContent:
    """The content of a card."""

    title: str
    format_name: FormatName
    folder: str
    licence: str
    model_cfg: Mapping[str, Any]
    parameters: int
    network: str = ""  # student or teacher
    config: RunConfig | None = None  # None if the model is not a run
    step: int = 0
    interpolation: str = ""  # a sentence naming the two interpolated models
    start_event: RunStarted | None = None  # data, device and precision of the training
    validation: Mapping[str, float] = field(default_factory=dict)
    reports: Sequence[Report] = ()
    precision: ExportPrecision = "fp32"  # precision of the weights in the files
    evaluation_precision: str = "fp32"
    unsupported_parts: Sequence[str] = ()  # parts of the network that the format does not support


def model_card(content: CardContent) -> str:
    """The card as Markdown. Names and texts from the run are escaped."""
    title = f"# {_text(content.title)}"
    sections = (_training, _results, _limitations, _use, _versions, _citation)
    parts = [_head(content), title, _summary(content), *(section(content) for section in sections)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(content: CardContent) -> str:
    licence = f"license: {json.dumps(content.licence)}\n" if content.licence else ""
    library = f"library_name: {EXPORT_FORMATS[content.format_name].library}\n"
    return f"---\n{library}{licence}pipeline_tag: zero-shot-image-classification\ntags:\n- clip\n---"


def _summary(content: CardContent) -> str:
    vision, text = content.model_cfg["vision_cfg"], content.model_cfg["text_cfg"]
    kind = "CoCa" if content.model_cfg.get("multimodal_cfg") else "CLIP"
    lines = [
        f"A {kind} with {content.parameters / 1e6:.1f} million parameters: {vision['image_size']}-pixel images, "
        f"{text.get('context_length', 77)}-token captions, {content.model_cfg['embed_dim']}-dimensional embeddings."
    ]
    if content.interpolation:
        lines.append(_text(content.interpolation))
    elif content.network:
        lines.append(f"These are the weights of the {content.network} after {_steps(content)}.")
    rounded = "" if content.precision == "fp32" else ", rounded from fp32"
    lines.append(f"The weights are stored in {content.precision}{rounded}.")
    if content.unsupported_parts:
        lines.append(f"Not included in this format: {', '.join(content.unsupported_parts)}.")
    licence = _text(content.licence) or "not stated; ask the authors of the model before you use it"
    lines.append(f"Licence: {licence}. The licence of the training data may restrict the use of the model further.")
    return "\n\n".join(lines)


def _steps(content: CardContent) -> str:
    total = content.start_event.total_steps if content.start_event is not None else 0
    return f"{content.step:,} of {total:,} steps" if total > content.step else f"{content.step:,} steps"


def _training(content: CardContent) -> str:
    config, start_event = content.config, content.start_event
    if config is None:
        return "## Training\n\nTrained elsewhere. See the publisher's description of the training data."
    preset = PRESETS.get(config.preset)
    rows = [
        ("recipe", f"{preset.title} ({preset.paper})" if preset is not None else "custom config"),
        ("training data", f"{PurePath(config.data.train).name}, {start_event.pairs if start_event else 0:,} pairs"),
        ("validation data", PurePath(config.data.val).name if config.data.val else "none"),
        ("steps", _steps(content)),
        ("batch", f"{config.optim.batch_size}"),
        ("learning rate", f"{config.optim.learning_rate:g}"),
        ("precision", f"{start_event.precision}, on {start_event.device}" if start_event else ""),
        ("started from", PurePath(config.towers.pretrained).name or "random weights"),
        ("seed", f"{config.seed}"),
        ("config", f"digest {config.digest()}, see config.json"),
    ]
    return "## Training\n\n" + _rows(("", ""), rows)


def _remove_folders(report: Report) -> Report:
    """The report without local folders, since the card is published."""
    subject = report.subject
    names = {"model": PurePath(subject.model).name, "dataset": PurePath(subject.dataset).name}
    return replace(report, subject=replace(subject, **names))


def _results(content: CardContent) -> str:
    parts = []
    splits: dict[str, list[tuple[str, str]]] = {}
    for name, value in sorted(content.validation.items()):
        split, _, metric = name.partition("/")
        splits.setdefault(split, []).append((metric, f"{value:.4g}"))
    for split, rows in splits.items():
        parts.append(f"On the {_SPLITS.get(split, split)}:\n\n{_rows(('metric', 'value'), rows)}")
    for report in content.reports:
        report_table = _BACKTICKS.sub("``", table(_remove_folders(report)))
        parts.append(f"With 95 % intervals over queries:\n\n```\n{report_table}\n```")
    if parts:
        rounded = (
            ""
            if content.precision == content.evaluation_precision
            else f"; the weights in {content.precision} were not evaluated"
        )
        parts.append(f"Evaluated in {content.evaluation_precision}{rounded}.")
    else:
        parts.append("This model has not been evaluated. Evaluate it before you rely on it.")
    return "## Results\n\n" + "\n\n".join(parts)


def _limitations(content: CardContent) -> str:
    length, side = (
        content.model_cfg["text_cfg"].get("context_length", 77),
        content.model_cfg["vision_cfg"]["image_size"],
    )
    points = [
        f"Captions are truncated to {length} tokens, and images are resized to {side} pixels: details are lost.",
        "The model reproduces errors and biases of its training data. It has not been tested for bias, and should not "
        "be used for decisions about people.",
    ]
    if content.start_event is not None and content.start_event.pairs:
        points.insert(
            0,
            f"The model was trained on {content.start_event.pairs:,} pairs. Evaluate it on your data before use.",
        )
    if content.format_name == "onnx":
        points.append("Unlike open_clip, tokenizer.json does not repair captions (broken encodings, HTML entities).")
    return "## Limitations\n\n" + "\n".join(f"- {point}" for point in points)


def _use(content: CardContent) -> str:
    return f"## Use\n\n```python\n{EXPORT_FORMATS[content.format_name].how_to_open(content.folder)}\n```"


def _versions(content: CardContent) -> str:
    parts = [f"sdgui {core.__version__}", *(f"{name} {_version(name)}" for name in _PACKAGES)]
    return f"## Versions\n\nExported with {', '.join(parts)}."


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(unknown version)"


def _citation(content: CardContent) -> str:
    software = f"```bibtex\n{CITATION.format(version=core.__version__)}\n```"
    preset = PRESETS.get(content.config.preset) if content.config is not None else None
    paper = f"\n\nThe method: {_text(preset.paper)}." if preset is not None and preset.paper else ""
    return f"## Citation\n\n{software}{paper}"


def _rows(head: tuple[str, str], rows: Sequence[tuple[str, str]]) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {_text(name)} | {_text(value)} |" for name, value in rows)])


def _text(text: str) -> str:
    """``text`` on one line, with Markdown escaped."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return _MARKDOWN.sub(r"\\\1", " ".join(printable.split()))
