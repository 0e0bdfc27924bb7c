"""These widgets are tested as those of ``sdgui.widgets`` are: with the theme applied."""

from tests.sdgui.widgets.conftest import look

__all__ = ["look"]
