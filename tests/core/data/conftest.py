"""Every test of core.data has an image cache of its own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees the user's cache, or another test's."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(folder))
    return folder
