"""The data card: eight images of a source, statistics, overlap with other splits, *hold out 10 %*.

Flow: ``DataFacts`` -> **card**: below the field in Define, opened from the picker in other panels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QPushButton, QSizePolicy, QWidget

from sdgui.shared.pickers.data_facts import DataFacts, failure_lines
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.formats import capitalize, count, count_with_unit, percent
from sdgui.widgets.gallery.image_label import ImageLabel
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import SPACE, set_role
from sdgui.worker.replies import Cancelled, Failure
from sdgui.worker.verbs import SourceFacts

SAMPLE_IMAGES = 8
_SIDE, _GAP = 6 * SPACE, SPACE // 2
_SHARED = (
    "Images that are in both splits make a score look better than it is. Exclude them in Data, Duplicates and leaks."
)
_SHARED_IN_DEMO = "In the demo data, these are emoji that look the same but have different names."


class DataCard(QFrame):
    """Shows the facts about a source. ``open_requested``: open the data in the Data panel."""

    open_requested = Signal(str)

    def __init__(self, facts: DataFacts, parent: QWidget | None = None, can_open: bool = False) -> None:
        """``can_open``: show a button for ``open_requested``."""
        super().__init__(parent)
        set_role(self, "card")
        self.facts = facts
        self._other_splits: dict[str, str] = {}
        self._shelf = QWidget(self)
        # the images do not widen the card
        self._shelf.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.images = [ImageLabel(_SIDE, self._shelf) for _ in range(SAMPLE_IMAGES)]
        self.figures, self.more, self.overlap = (ElidedLabel("", self) for _ in range(3))
        self._writable = True
        self.open_button = IconButton("ph.stack", "Open this data", parent=self)
        self.open_button.setVisible(can_open)
        self.hold_out = QPushButton("Hold out 10 %", self)
        self.hold_out.setToolTip(
            "Write two tables to sdgui's data folder: nine tenths to train on, a tenth to validate on"
        )
        self._build()
        facts.described.connect(self._on_described)
        facts.refused.connect(self._show_refusal)
        facts.progress.connect(self._on_progress)
        facts.overlapped.connect(lambda _shared: self._show_overlap())
        facts.held_out.connect(
            lambda train, held_out: self._show_hold_out(f"Written: {train} and {Path(held_out).name}")
        )
        facts.not_held_out.connect(lambda failure: self._show_hold_out(failure.text))
        self.hold_out.clicked.connect(self._hold_out)
        self.open_button.clicked.connect(lambda: self.open_requested.emit(self.facts.source))
        self.show_facts()

    def _build(self) -> None:
        hbox(*self.images, None, into=self._shelf, spacing=_GAP)
        self._shelf.setFixedHeight(_SIDE)
        foot = hbox((self.more, 1), self.open_button, self.hold_out)
        set_role(self.more, "small")
        set_role(self.overlap, "small")
        vbox(self._shelf, self.figures, foot, self.overlap, into=self, spacing=SPACE // 2, margins=SPACE)

    def set_other_splits(self, splits: Mapping[str, str]) -> None:
        """Set the other splits (name -> source) to compare with."""
        if dict(splits) != self._other_splits:
            self._other_splits = dict(splits)
            self._show_overlap()
        if self.facts.facts is not None:
            self.facts.look_for_overlap(list(self._other_splits.values()))

    def set_writable(self, writable: bool) -> None:
        """Set whether a part may be held out."""
        if writable != self._writable:
            self._writable = writable
            self.show_facts()

    def show_facts(self) -> None:
        """Show the known facts."""
        facts = self.facts.facts
        can_split = facts is not None and facts["images"] > 1 and facts["pairs"] > 0
        self.hold_out.setVisible(can_split and self._writable)
        samples = facts.get("samples", []) if facts is not None else []
        self._show_images()
        for number, image in enumerate(self.images):
            image.show_image(Path(samples[number]) if number < len(samples) else None)
        self.figures.setText(figures_text(facts) if facts is not None else "Counting…" if self.facts.asking else "")
        self.more.setText(more_text(facts) if facts is not None else "")
        self.more.setToolTip(plain_tip(reasons_text(facts) if facts is not None else ""))
        self.more.setVisible(bool(self.more.text()) or self.facts.asking)  # reserves space before the text is known
        set_role(self.figures, "")
        self._show_overlap()

    def _show_images(self) -> None:
        """Show the images that fit side by side without being cut off."""
        samples = self.facts.facts.get("samples", []) if self.facts.facts is not None else []
        room_for = max(1, (self.width() - 2 * SPACE + _GAP) // (_SIDE + _GAP))
        for number, image in enumerate(self.images):
            image.setVisible(number < min(room_for, len(samples)))
        self._shelf.setVisible(bool(samples) or self.facts.asking)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._show_images()

    def _on_described(self, _facts: SourceFacts) -> None:
        self.show_facts()
        self.facts.look_for_overlap(list(self._other_splits.values()))

    def _show_refusal(self, failure: Failure) -> None:
        self.show_facts()
        if not isinstance(failure, Cancelled):
            first, all_lines = failure_lines(failure)
            self.figures.setText(first)
            self.figures.setToolTip(plain_tip(all_lines))
            set_role(self.figures, "error")

    def _on_progress(self, activity: str, done: int) -> None:
        if self.facts.facts is None and done:
            self.figures.setText(f"{capitalize(activity)} … {count(done)}")

    def _show_overlap(self) -> None:
        text = overlap_text(self.facts.facts, self._other_splits, self.facts.shared)
        self.overlap.setText(text)
        self.overlap.setVisible(bool(text))
        is_shared = bool(text) and any(self.facts.shared.values())
        if is_shared:
            facts = self.facts.facts
            is_demo = facts is not None and Path(facts["source"]).with_name("demo.json").is_file()
            self.overlap.setToolTip(plain_tip("\n".join((text, _SHARED, *([_SHARED_IN_DEMO] if is_demo else [])))))
        set_role(self.overlap, "warning" if is_shared else "small")

    def _hold_out(self) -> None:
        self.hold_out.setEnabled(False)
        self._show_hold_out("Splitting off 10 %…", done=False)
        self.facts.hold_out()

    def _show_hold_out(self, text: str, done: bool = True) -> None:
        self.hold_out.setEnabled(done)
        self.overlap.setText(text)
        self.overlap.setVisible(True)
        set_role(self.overlap, "small")


def figures_text(facts: SourceFacts) -> str:
    """A summary such as ``4 100 pairs · 1 320 images · concept: 55 classes · 3 bad rows · CSV``."""
    pairs, images, bad_rows = facts["pairs"], facts["images"], facts["bad"]
    parts = [count_with_unit(pairs, "pair")] if pairs else []
    parts.append(count_with_unit(images, "image"))
    parts += [f"{name}: {count(number)} class{'es' * (number != 1)}" for name, number in facts["labels"].items()]
    if bad_rows:
        parts.append(count_with_unit(bad_rows, "bad row"))
    return " · ".join([*parts, facts["format"]])


def more_text(facts: SourceFacts) -> str:
    """Captions per image, and the first bad row."""
    counts = facts.get("captions", [])
    with_some = [(number, images) for number, images in enumerate(counts, 1) if images]
    parts = []
    if len(with_some) == 1:
        number = with_some[0][0]
        several = f"{number}{' or more' if number == len(counts) else ''} captions"
        parts.append(f"{'one caption' if number == 1 else several} per image")
    elif with_some:
        distribution = ", ".join(
            f"{number}{'+' if number == len(counts) else ''}: {count(n)}" for number, n in with_some
        )
        parts.append(f"captions per image {distribution}")
    if facts["reasons"]:
        parts.append(f"skipped: {facts['reasons'][0]}")
    return " · ".join(parts)


def reasons_text(facts: SourceFacts) -> str:
    """The first bad rows with their reasons, one per line; "" if there are none."""
    reasons, bad_rows = list(facts["reasons"]), facts["bad"]
    remainder = [f"and {count(bad_rows - len(reasons))} more"] if bad_rows > len(reasons) else []
    return "\n".join([figures_text(facts), "", "Skipped:", *reasons, *remainder]) if reasons else ""


def overlap_text(facts: SourceFacts | None, splits: Mapping[str, str], shared: Mapping[str, int]) -> str:
    """A text such as ``12 images (1.5 %) also in val``, or that there is no overlap."""
    if facts is None or not facts["images"]:
        return ""
    shared_counts = {name: shared[source] for name, source in splits.items() if source in shared}
    sentences = [
        f"{count_with_unit(number, 'image')} ({percent(number / facts['images'])}) also in {name}"
        for name, number in shared_counts.items()
        if number
    ]
    clean = [name for name, number in shared_counts.items() if not number]
    if clean:
        sentences.append(f"no image also in {' or '.join(clean)}")
    return " · ".join(sentences)
