"""Texts about a config and its data: recommendations, and which runs an edit affects. No Qt.

Flow: config and facts about the training data -> these functions -> the advice below the form, the hint above it.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.spec.config import RunConfig, get_field
from core.spec.presets.recommended import Advice
from sdgui.shared.form.texts import field_title, value_text
from sdgui.widgets.formats import count


def advice_lines(config: RunConfig, advice: Sequence[Advice], labels: Sequence[str]) -> list[str]:
    """One line per recommendation, and one if the label column is missing from the data."""
    lines = []
    label = config.data.label
    if label and label not in labels:
        columns = ", ".join(labels) or "no label columns"
        lines.append(f"The training data has no column “{label}” for the label; available: {columns}.")
    for suggestion in advice:
        current = value_text(get_field(config, suggestion.field))
        lines.append(
            f"• {field_title(suggestion.field)} {value_text(suggestion.value)} (now {current}). {suggestion.reason}"
        )
    return lines


def runs_hint(runs: int) -> str:
    """Says that an edit does not affect the experiment's existing ``runs``; "" if there are none."""
    if not runs:
        return ""
    runs_keep = "its run keeps its" if runs == 1 else f"its {count(runs)} runs keep their"
    return f"Changes apply to the next run; {runs_keep} own config."
