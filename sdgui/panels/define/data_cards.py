"""The data cards of the form: below each data field, its contents and the overlap with other splits.

Flow: the form's texts -> (after a pause in typing) a ``DataFacts`` for each field -> a ``DataCard`` below its row.
"""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtWidgets import QWidget

from sdgui.shared.form.form import ConfigForm
from sdgui.shared.form.row import FormRow
from sdgui.shared.pickers.data_card import DataCard
from sdgui.shared.pickers.data_facts import DataFacts
from sdgui.shared.pickers.refusals import DATA_FIELDS
from sdgui.shared.services import Services

_TYPING_PAUSE_MS = 700
_TRAIN, _VAL = "data.train", "data.val"


class DataCards(QObject):
    """Updates the cards. ``held_out``: fields to set, dotted field -> value; ``open_requested``: open data in Data."""

    held_out = Signal(object)
    open_requested = Signal(str)

    def __init__(self, form: ConfigForm, services: Services, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._form, self._services = form, services
        self.cards: dict[str, DataCard] = {}  # field -> its card
        self._typing_timer = QTimer(self, singleShot=True, interval=_TYPING_PAUSE_MS)
        self._typing_timer.timeout.connect(self._update_cards)
        form.set_companions(DATA_FIELDS, self._make_card)
        form.updated.connect(self._typing_timer.start)

    def _make_card(self, row: FormRow) -> QWidget:
        """Create the card below ``row``."""
        facts = DataFacts(self._services, parent=self)
        card = DataCard(facts, row, can_open=True)
        card.open_requested.connect(self.open_requested)
        facts.held_out.connect(lambda train, held_out: self.held_out.emit({_TRAIN: train, _VAL: held_out}))
        self.cards[row.spec.path] = card
        card.hide()
        self._typing_timer.start()
        return card

    def _update_cards(self) -> None:
        """Update the cards to the sources in the data fields."""
        texts = self._form.draft()
        sources = {field: texts[field].strip() for field in DATA_FIELDS}
        for field, card in self.cards.items():
            source = sources[field]
            card.set_writable(field == _TRAIN and not self._form.read_only)
            card.setVisible(bool(source))
            if source != card.facts.source:
                card.facts.set_source(source)
                card.show_facts()
            other_sources = {
                name.removeprefix("data."): text for name, text in sources.items() if name != field and text
            }
            card.set_other_splits({name: text for name, text in other_sources.items() if text != source})
