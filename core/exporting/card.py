"""The model card of an export: what the model is, what it learnt from, how well it does, how it is used.

Flow: ``core.exporting.export`` gathers the facts -> `model_card` -> ``README.md``, with the metadata that model hubs
read (Mitchell et al., "Model cards for model reporting", 2019).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from core.evaluation.report import Report, table
from core.spec.config import RunConfig
from core.spec.presets import PRESETS
from core.spec.run.export_forms import EXPORT_FORMS, ExportPrecision, Form


@dataclass(frozen=True)
class CardFacts:
    """What a card says."""

    title: str
    form: Form
    folder: str
    licence: str
    model_cfg: Mapping[str, Any]
    parameters: int
    network: str = ""  # student or teacher
    config: RunConfig | None = None  # of a run
    step: int = 0
    pairs: int = 0
    validation: Mapping[str, float] = field(default_factory=dict)
    reports: Sequence[Report] = ()
    precision: ExportPrecision = "fp32"  # of the weights in the files
    left_out: Sequence[str] = ()  # parts of the network that the form has no room for


def model_card(facts: CardFacts) -> str:
    """The whole card as Markdown."""
    parts = [_head(facts), f"# {facts.title}", _what(facts), _training(facts), _results(facts), _use(facts)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(facts: CardFacts) -> str:
    licence = f"license: {json.dumps(facts.licence)}\n" if facts.licence else ""
    library = f"library_name: {EXPORT_FORMS[facts.form].library}\n"
    return f"---\n{library}{licence}pipeline_tag: zero-shot-image-classification\ntags:\n- clip\n---"


def _what(facts: CardFacts) -> str:
    vision, text = facts.model_cfg["vision_cfg"], facts.model_cfg["text_cfg"]
    kind = "CoCa" if facts.model_cfg.get("multimodal_cfg") else "CLIP"
    lines = [
        f"A {kind} with {facts.parameters / 1e6:.1f} million parameters: pictures of {vision['image_size']} pixels, "
        f"captions of {text.get('context_length', 77)} tokens, vectors of {facts.model_cfg['embed_dim']} dimensions."
    ]
    if facts.network:
        lines.append(f"These are the weights of the {facts.network} after {facts.step:,} steps.")
    if facts.precision != "fp32":
        lines.append(f"The weights are stored in {facts.precision}, rounded from fp32.")
    if facts.left_out:
        lines.append(f"Not included, since this form has no place for it: {', '.join(facts.left_out)}.")
    licence = facts.licence or "not stated; ask whoever trained it before you use it"
    lines.append(f"Licence: {licence}. The licence of its training data may restrict its use further.")
    return "\n\n".join(lines)


def _training(facts: CardFacts) -> str:
    config = facts.config
    if config is None:
        return ""
    preset = PRESETS.get(config.preset)
    made = f"{preset.title} ({preset.paper})" if preset is not None else "a definition of its own"
    rows = [
        ("recipe", made),
        ("training data", f"{PurePath(config.data.train).name}, {facts.pairs:,} pairs"),
        ("validation data", PurePath(config.data.val).name if config.data.val else "none"),
        ("batch", f"{config.optim.batch_size}"),
        ("learning rate", f"{config.optim.learning_rate:g}"),
        ("started from", PurePath(config.towers.pretrained).name or "random weights"),
        ("seed", f"{config.seed}"),
        ("definition", f"digest {config.digest()}, whole in definition.json"),
    ]
    return "## Training\n\n" + _rows(("", ""), rows)


def _results(facts: CardFacts) -> str:
    parts = []
    if facts.validation:
        rows = [(name, f"{value:.4g}") for name, value in sorted(facts.validation.items())]
        parts.append("On the validation data, by which the checkpoint may have been chosen:\n\n")
        parts[-1] += _rows(("metric", "value"), rows)
    parts += [f"With 95 % intervals over queries:\n\n```\n{table(report)}\n```" for report in facts.reports]
    if not parts:
        parts.append("It has not been evaluated. Do so before you rely on it.")
    return "## Results\n\n" + "\n\n".join(parts)


def _use(facts: CardFacts) -> str:
    return f"## Use\n\n```python\n{EXPORT_FORMS[facts.form].how_to_open(facts.folder)}\n```"


def _rows(head: tuple[str, str], rows: Sequence[tuple[str, str]]) -> str:
    lines = [head, ("---", "---"), *rows]
    return "\n".join(f"| {_cell(name)} | {_cell(value)} |" for name, value in lines)


def _cell(text: str) -> str:
    """Text that stays in its cell."""
    return " ".join(text.replace("|", "\\|").split())
