"""The demo data as a window waits for them: how far they are, when they are there, why they are not, and given up."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from core.spec.config import RunConfig
from core.spec.installed import NotInstalled
from core.spec.presets import preset_config
from sdgui.runs import demo as demo_module
from sdgui.runs.demo import DEMO_EXPERIMENTS, SHOWN_FIRST, DemoData, demo_configs

TABLES = ("train.csv", "val.csv", "test.csv")
WRITE = "import pathlib, sys; [pathlib.Path(sys.argv[1], name).write_text('') for name in {}]"
Make = Callable[..., DemoData]


@pytest.fixture
def make(qapp: object, tmp_path: Path) -> Make:
    """Demo data of a program that is ``code``; what it told is in ``told``."""

    def made(code: str) -> DemoData:
        demo = DemoData(tmp_path, [sys.executable, "-S", "-u", "-c", code])
        told: list[tuple[Any, ...]] = []
        demo.progress.connect(lambda *what: told.append(what))
        demo.ready.connect(lambda: told.append(("ready",)))
        demo.failed.connect(lambda *what: told.append(("failed", *what)))
        demo.told = told  # type: ignore[attr-defined]
        return demo

    return made


def told(demo: DemoData) -> list[tuple[Any, ...]]:
    return demo.told  # type: ignore[attr-defined,no-any-return]


def test_rendering_reports_progress_and_its_end(make: Make, qtbot: QtBot, tmp_path: Path) -> None:
    code = f"import sys; print('1,200 of 4,800', file=sys.stderr); print(); {WRITE.format(TABLES)}"
    demo = make(code)
    assert (demo.complete, demo.making) == (False, False)
    demo.make()
    demo.make()
    assert (demo.complete, demo.making) == (False, True)
    qtbot.waitUntil(lambda: not demo.making)
    doing = "Drawing the demo images"
    assert told(demo)[0] == (0, 0, doing)
    assert set(told(demo)[1:-1]) == {(1200, 4800, doing)}
    assert told(demo)[-1] == ("ready",)
    assert demo.complete
    before = len(told(demo))
    demo.make()
    assert (demo.making, len(told(demo))) == (False, before), "they are there"
    (tmp_path / "test.csv").unlink()
    assert not demo.complete


@pytest.mark.parametrize(
    ("code", "said", "output"),
    [
        ("import sys; print('a\\n\\nno room \\n\\n'); sys.exit(1)", "no room", "a\n\nno room \n\n\n"),
        ("import sys; sys.exit(7)", "the program exited with code 7 without any output.", ""),
        (f"print('wrote some'); {WRITE.format(TABLES[:2])}", "wrote some", "wrote some\n"),
        (f"import os; {WRITE.format(TABLES)}; print('bye'); os.abort()", "bye", "bye\n"),
    ],
    ids=["failed", "silent", "unfinished", "crashed"],
)
def test_a_failed_rendering_is_reported_with_the_output(
    make: Make, qtbot: QtBot, code: str, said: str, output: str
) -> None:
    demo = make(code)
    demo.make()
    qtbot.waitUntil(lambda: not demo.making)
    assert told(demo)[-1] == ("failed", f"The demo data could not be created: {said}", output)
    assert sum(what[0] in ("failed", "ready") for what in told(demo)) == 1


def test_a_missing_program_is_reported_once(qapp: object, qtbot: QtBot, tmp_path: Path) -> None:
    demo, failed = DemoData(tmp_path, [str(tmp_path / "none")]), list[str]()
    demo.failed.connect(lambda said, _output: failed.append(said))
    demo.make()
    qtbot.waitUntil(lambda: bool(failed))
    assert not demo.making
    assert failed[0].startswith("The demo data could not be created: ")
    assert failed[0].endswith(". Check the installation.")
    demo.make()
    qtbot.waitUntil(lambda: len(failed) == 2)


def test_cancelled_rendering_is_silent_and_can_be_restarted(make: Make, qtbot: QtBot) -> None:
    demo = make("import time; print('1/2'); time.sleep(60)")
    demo.cancel()
    demo.make()
    process = demo._process
    assert process is not None
    qtbot.waitUntil(lambda: (1, 2, "Drawing the demo images") in told(demo))
    before = list(told(demo))
    demo.cancel()
    assert process.state() == process.ProcessState.NotRunning
    assert (demo.making, demo.complete) == (False, False)
    qtbot.wait(20)
    assert told(demo) == before
    demo.make()
    assert demo.making
    demo.cancel()


def test_the_demo_experiments_train_on_its_data(tmp_path: Path) -> None:
    configs, demo = demo_configs(tmp_path), DemoData(tmp_path, ["none"])
    assert SHOWN_FIRST in configs
    assert {name: config.preset for name, config in configs.items()} == DEMO_EXPERIMENTS
    for name, config in configs.items():
        assert config.name == name
        assert [config.data.train, config.data.val, config.data.test] == [str(tmp_path / table) for table in TABLES]
        assert demo.covers(config)

    def on(train: str) -> RunConfig:
        config = preset_config("clip", "tiny")
        return config.model_copy(update={"data": config.data.model_copy(update={"train": train})})

    assert not demo.covers(on(""))
    assert not demo.covers(on(str(tmp_path.parent / "train.csv")))
    assert demo.covers(on(str(tmp_path / "noisy.csv")))


@pytest.mark.parametrize("missing", ["train", "demo"])
def test_a_missing_renderer_is_reported_after_the_caller_waits(
    qapp: object, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    def need(part: str) -> None:
        if part == missing:
            raise NotInstalled(f"{part} is not installed.")

    monkeypatch.setattr(demo_module, "need", need)
    demo = DemoData(tmp_path)
    told: list[tuple[str, str]] = []
    demo.failed.connect(lambda *what: told.append(what))
    demo.make()
    assert (told, demo.making) == ([], False)
    qtbot.waitUntil(lambda: told == [(f"{missing} is not installed.", "")])
