"""Texts of Define about a config and its data: recommendations, and settings that earlier runs keep. No Qt.

Flow: config and facts about the training data -> these functions -> the advice below the form, the hint above it.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.spec.config import RunConfig, get_field
from core.spec.presets.recommended import Advice
from sdgui.shared.form.texts import field_title, value_text
from sdgui.widgets.formats import count


def advice_lines(config: RunConfig, advice: Sequence[Advice], labels: Sequence[str]) -> list[str]:
    """A missing label column, and the recommendations; may be empty."""
    lines = []
    label = config.data.label
    if label and label not in labels:
        columns = ", ".join(labels) or "none"
        lines.append(f"The training data has no column “{label}” for data.label; its label columns: {columns}.")
    for suggestion in advice:
        current = value_text(get_field(config, suggestion.field))
        lines.append(
            f"• {field_title(suggestion.field)} {value_text(suggestion.value)} (now {current}). {suggestion.reason}"
        )
    return lines


def runs_hint(runs: int) -> str:
    """Which runs an edit affects, if the experiment has ``runs`` runs; "" without any."""
    if not runs:
        return ""
    runs_keep = "its run keeps its" if runs == 1 else f"its {count(runs)} runs keep their"
    return f"Changes apply to the next run; {runs_keep} own config."
