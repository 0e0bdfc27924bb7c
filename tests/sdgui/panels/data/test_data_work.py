"""What the Data panel asks of its workers, by hand: what is dropped, cancelled, answered, and kept in the home."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from pytestqt.qtbot import QtBot

from sdgui.panels.data import exclusions
from sdgui.panels.data.work import DataWork
from sdgui.worker.pool import CHECKS, DATA, WorkerPool
from sdgui.worker.replies import Cancelled, Failure
from tests.sdgui.panels.data.conftest import checked, facts, part
from tests.sdgui.panels.scripted_workers import Workers


class Works(Workers):
    """The work over workers in miniature, by what they are for, and what it told."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self.work = DataWork(cast(WorkerPool, self), home)
        self.signals: list[str] = []
        for name in ("opened", "open_failed", "part", "checked", "check_failed", "saved", "save_failed", "not_kept"):
            getattr(self.work, name).connect(lambda _content, name=name: self.signals.append(name))
        self.work.progress.connect(lambda purpose, *_: self.signals.append(f"{purpose} goes on"))


@pytest.fixture
def works(qapp: object, tmp_path: Path) -> Iterator[Works]:
    works = Works(tmp_path)
    yield works
    works.work.wait()


def test_one_source_is_read_at_a_time_and_a_check_has_a_process_of_its_own(works: Works) -> None:
    work, data, checks = works.work, works[DATA], works[CHECKS]
    work.open("/one.csv")
    assert data.asked == [("data_open", {"source": "/one.csv", "images_only": True})]
    data.progress.emit(1, "reading", 1, 2)
    data.partial.emit(1, part("a"))
    data.done.emit(1, facts("/one.csv", 1))
    work.check("/one.csv", {"val": "/val.csv"}, "split")
    assert checks.asked == [
        ("data_check", {"source": "/one.csv", "others": {"val": "/val.csv"}, "label": "split"}),
    ]  # fmt: skip
    checks.progress.emit(1, "reading", 1, 2)
    assert works.signals == ["open goes on", "part", "opened", "check goes on"]
    work.save("/one.csv", Path("/kept.csv"), ["/a"], ["/b"], True)
    assert data.asked[1] == (
        "data_save", {"source": "/one.csv", "to": "/kept.csv", "excluded": ["/a"], "only": ["/b"], "replace": True},
    )  # fmt: skip
    work.open("/two.csv")
    assert (data.cancelled, checks.cancelled) == ([], [1]), "the check was of the source before; saving goes on"
    checks.done.emit(1, checked("/one.csv"))
    data.done.emit(2, {"path": "/kept.csv", "record": "/kept.provenance.json", "images": 1, "captions": 1})
    assert works.signals[4:] == ["saved"]
    work.open("/three.csv")
    assert data.cancelled == [3]
    data.partial.emit(3, part("b"))
    assert len(works.signals) == 5, "of a source that was left nothing comes any more"
    work.check("/three.csv", {}, "")
    work.save("/three.csv", Path("/kept.csv"), [], [], False)
    work.cancel()
    assert (data.cancelled[1:], checks.cancelled[1:]) == ([4, 5], [2])
    data.failed.emit(4, Cancelled())
    data.failed.emit(5, Failure("The disk is full."))
    checks.failed.emit(2, Cancelled())
    assert works.signals[5:] == ["open_failed", "save_failed", "check_failed"]
    work.open("/four.csv")
    work.close_source()
    assert data.cancelled[-1] == 6


def test_exclusions_are_kept_in_the_home_and_a_full_disk_is_told(
    qtbot: QtBot, works: Works, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    excluded: list[list[str]] = []
    works.work.keep_exclusions("/one.csv", ["/a", "/b"])
    works.work.wait()
    assert exclusions.read(tmp_path, "/one.csv") == ["/a", "/b"]
    works.work.read_exclusions("/one.csv", excluded.append)
    qtbot.waitUntil(lambda: excluded == [["/a", "/b"]])

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exclusions, "write", full)
    works.work.keep_exclusions("/one.csv", [])
    qtbot.waitUntil(lambda: works.signals == ["not_kept"])
