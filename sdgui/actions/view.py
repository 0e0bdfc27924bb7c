"""Actions of the View menu: appearance, finding, the tree."""

from __future__ import annotations

from sdgui.widgets.style.theme import Scheme

_SCHEMES: tuple[Scheme, ...] = ("system", "light", "dark")
