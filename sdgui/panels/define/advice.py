"""Recommended settings for the number of training pairs.

Flow: the form's ``data.train`` -> (a moment after it was typed) the pool's worker ``describe_source`` ->
label columns for the form, and ``recommendations`` with their reasons above the form; *Apply* writes them to the form.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QFrame, QPushButton, QWidget

from core.spec.config import RunConfig, get_field
from core.spec.presets.choosing import why_clip_is_better
from core.spec.presets.recommended import Advice, recommendations
from core.spec.shards import names_shards
from sdgui.shared.form.texts import field_title, value_text
from sdgui.shared.services import Services
from sdgui.widgets.dropped_files import existing_path
from sdgui.widgets.formats import count
from sdgui.widgets.layouts.boxes import hbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE, Role, set_role
from sdgui.worker.calls import WorkerCalls
from sdgui.worker.pool import DATA_WORKER
from sdgui.worker.replies import Cancelled, Failure, Lost
from sdgui.worker.verbs import DESCRIBE_SOURCE, SourceFacts

_TYPING_PAUSE_MS = 700


class AdviceBar(QFrame):
    """Recommendations in a few lines above the form; hidden without any, and until the data has been read."""

    applied = Signal(object)  # dict: dotted field -> value
    described = Signal(object)  # the worker's SourceFacts about data.train

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        set_role(self, "card")
        self._calls = WorkerCalls(services.pool.client(DATA_WORKER, "define"), self)
        self._source = ""
        self._facts: SourceFacts | None = None  # about the training data; None until the data has been read
        self._facts_of_source: dict[tuple[str, int], SourceFacts] = {}  # by path and modification time
        self._config: RunConfig | None = None
        self._advice: list[Advice] = []
        self._read_only = False
        self.text = PlainLabel(self, wordWrap=True)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.apply = QPushButton("&Apply", self)
        self.apply.setToolTip("Apply the recommended values to the form")
        self.apply.setAccessibleName("Apply the recommendations for this data")
        apply = (self.apply, 0, Qt.AlignmentFlag.AlignTop)
        hbox((self.text, 1), apply, into=self, margins=(SPACE * 3 // 2, SPACE // 2, SPACE, SPACE // 2))
        self._timer = QTimer(self, singleShot=True, interval=_TYPING_PAUSE_MS)
        self._timer.timeout.connect(self._request_facts)
        self.apply.clicked.connect(self._apply)
        self.hide()

    def show_config(self, config: RunConfig | None, read_only: bool) -> None:
        """Advise on ``config``. While the form has errors (None), the last advice stays but cannot be applied."""
        self._read_only = read_only
        self.apply.setEnabled(config is not None)
        if config is None:
            return
        self._config = config
        if config.data.train != self._source:
            self.clear()
            self._source = config.data.train
        if self._facts is not None:
            self._show_advice()
        else:
            self.read_again()

    def read_again(self) -> None:
        """Read the data unless it is known: the file may have been created or corrected since."""
        if self._facts is None and not self._calls.busy("describe"):
            self._timer.start()

    def clear(self) -> None:
        """Hide the bar, and forget the data and pending requests."""
        self._source, self._facts, self._advice = "", None, []
        self._timer.stop()
        self._calls.drop("describe")
        self.hide()

    def _request_facts(self) -> None:
        key = self._source_key()
        if key is None:
            return
        if key in self._facts_of_source:
            self._use_facts(self._facts_of_source[key])
        else:
            arguments = {"source": self._source, "images_only": False}
            on_described = partial(self._on_described, key)
            self._calls.ask("describe", DESCRIBE_SOURCE, on_described, self._on_failed, None, **arguments)

    def _source_key(self) -> tuple[str, int] | None:
        """The source and its modification time; None if the source is missing, which the trainer reports."""
        if names_shards(self._source):
            return self._source, 0
        path = existing_path(self._source)
        try:
            return (self._source, path.stat().st_mtime_ns) if path is not None else None
        except OSError:  # deleted in the meantime
            return None

    def _on_described(self, key: tuple[str, int], result: SourceFacts) -> None:
        self._facts_of_source[key] = result
        self._use_facts(result)

    def _on_failed(self, failure: Failure) -> None:
        if isinstance(failure, Cancelled):
            return
        role: Role = "muted" if isinstance(failure, Lost) else "error"  # a lost worker says nothing about the data
        self._set_text(role, f"Training data: {failure.text}")

    def _use_facts(self, facts: SourceFacts) -> None:
        self._facts = facts
        self.described.emit(facts)
        self._show_advice()

    def _show_advice(self) -> None:
        config, facts = self._config, self._facts
        if config is None or facts is None:
            return
        self._advice = recommendations(config, int(facts["pairs"]))
        lines = [f"For {count(int(facts['pairs']))} pairs:"] if self._advice else []
        lines += _advice_lines(config, self._advice, list(facts["labels"]))
        if hint := why_clip_is_better(config, int(facts["pairs"])):
            lines.append(f"• {hint}" if lines else hint)
        self._set_text("", "\n".join(lines))
        self.setVisible(bool(lines))

    def _set_text(self, role: Role, text: str) -> None:
        self.text.setText(text)
        set_role(self.text, role)
        self.apply.setVisible(bool(self._advice) and not self._read_only and role != "error")
        self.setAccessibleName(text)
        self.show()

    def _apply(self) -> None:
        self.applied.emit({advice.field: advice.value for advice in self._advice})


def _advice_lines(config: RunConfig, advice: Sequence[Advice], labels: Sequence[str]) -> list[str]:
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
