"""The same patience with a busy machine, and the same polls, as in the window's own tests."""

from __future__ import annotations

from tests.sdgui.conftest import frequent_polls, qtbot

__all__ = ["frequent_polls", "qtbot"]
