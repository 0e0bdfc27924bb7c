"""A sweep from a notebook: trials are trained in separate processes, like those of ``sdgui-core sweep``.

report = core.sweep("lr.json", "sweeps/lr")
print(report.trials[report.best[0]].params)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.spec.installed import need
from core.spec.study.sweep import parse_sweep, read_sweep
from core.spec.study.sweep_report import SweepDir, SweepReport

__all__ = ["sweep"]


def sweep(
    file: str | Path | Mapping[str, Any], folder: str | Path, *, trials: int | None = None, jobs: int = 1
) -> SweepReport:
    """Train the trials of a sweep (a JSON file, or its content as nested dicts) in ``folder``, and return a report.

    Call this function again to resume the sweep, and with more ``trials`` to extend it. ``jobs``: parallel runs.
    Raises ConfigError for an invalid sweep, StudyError if ``folder`` contains a different sweep, NotInstalled without
    Optuna.
    """
    need("sweep")
    from core.studies.study.places.selection import PlaceOptions  # noqa: PLC0415  (torch and Optuna)
    from core.studies.sweep.run import run_sweep  # noqa: PLC0415

    origin = Path() if isinstance(file, Mapping) else Path(file).parent
    config = parse_sweep(dict(file), "the sweep") if isinstance(file, Mapping) else read_sweep(Path(file))
    if trials is not None:
        config = parse_sweep({**config.model_dump(), "trials": trials}, "the sweep")
    return run_sweep(config, origin, SweepDir(Path(folder).absolute()), print, PlaceOptions(jobs=jobs))
