"""A disk that is full while data is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.data.derived import manifest


@pytest.fixture
def fill_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Calling it makes every later write of a manifest fail; the records next to it are still written."""
    write = manifest.write_whole

    def fail(path: Path, content: bytes) -> None:
        if path.suffix == ".csv":
            raise OSError(28, "No space left on device")
        write(path, content)

    return lambda: monkeypatch.setattr(manifest, "write_whole", fail)
