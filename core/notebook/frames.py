"""Runs as pandas tables, one row per step.

frame = core.read_run("runs/first")
frame["train/loss"].dropna().plot()
frame.filter(like="val/").dropna(how="all")
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from core.spec.errors import UserError
from core.spec.installed import need
from core.spec.run.events import Evaluated, EventReader, Metrics, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.logged import LoggedConfig, read_any_config

if TYPE_CHECKING:
    import pandas

__all__ = ["read_run"]


def read_run(folder: str | Path) -> pandas.DataFrame:
    """The metrics of a run: one row per step, one column per metric ("train/loss", "val/teacher/..."), NaN if missing.

    ``frame.attrs`` contains the config as plain data (``config``) and the folder (``run``). Steps that a resumed run
    repeated occur once. Raises UserError if ``folder`` is not a run, NotInstalled without pandas.
    """
    need("notebook")
    import pandas  # noqa: PLC0415  (the one function that needs it)

    run = RunDir(Path(folder).absolute())
    if not run.config.is_file():
        raise UserError(f"{run.path} is not a run folder: it has no config.json.")
    rows = _rows(run)
    frame = pandas.DataFrame.from_dict(rows, orient="index", dtype=float).sort_index()
    frame.index.name = "step"
    config = read_any_config(run.config)
    plain = config.config if isinstance(config, LoggedConfig) else config.model_dump(mode="json")
    frame.attrs = {"run": os.fspath(run.path), "config": plain}
    return frame


def _rows(run: RunDir) -> dict[int, dict[str, float]]:
    """Step -> metric -> value."""
    rows: dict[int, dict[str, float]] = {}
    for event in EventReader(run.events).read_all():
        if isinstance(event, RunStarted):
            rows = {step: values for step, values in rows.items() if step <= event.step}
        elif isinstance(event, (Metrics, Evaluated)):
            rows.setdefault(event.step, {}).update(event.values)
    return rows
