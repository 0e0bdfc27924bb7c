"""Settings that a window of an older version wrote, under the names that this one reads.

Flow: ``start`` opens the settings and calls ``take_over`` once, before anything reads them.
"""

from __future__ import annotations

from PySide6.QtCore import QSettings

from core.spec.config.renamed import names, present

_SHOWN = "window/place"  # the panel that was shown last


def take_over(settings: QSettings) -> None:
    """Move what is kept under a panel's older name to its present one; what the present name has is left alone."""
    for old, new in names("panel").items():
        settings.beginGroup(old)
        keys = settings.allKeys()
        settings.endGroup()
        for key in keys:
            if not settings.contains(f"{new}/{key}"):
                settings.setValue(f"{new}/{key}", settings.value(f"{old}/{key}"))
        settings.remove(old)
    shown = str(settings.value(_SHOWN) or "")
    if shown in names("panel"):
        settings.setValue(_SHOWN, present("panel", shown, told=False))
