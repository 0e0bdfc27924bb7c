"""The same patience with a busy machine as in the window's own tests."""

from __future__ import annotations

from tests.sdgui.conftest import qtbot

__all__ = ["qtbot"]
