"""Logs your own training run; the window and ``sdgui-core runs`` show it like a run of the trainer.

run = core.start_run("baseline", config={"lr": 1e-3}, project="cifar")
run.log({"train/loss": 0.5}, step=1)
run.finish()
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import platformdirs

from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.paths import expand_user
from core.spec.reading import excerpt
from core.spec.run.events import Lifecycle, RunStarted
from core.spec.run.folder import RunDir, new_name
from core.spec.run.logged import UNCATEGORIZED, LoggedConfig, read_logged
from core.spec.run.provenance import write_provenance
from core.tracking.logged_run import LoggedRun, as_step
from core.tracking.provenance import collect, data_facts, script_folder
from core.tracking.system import SAMPLE_SECONDS

__all__ = ["start_run"]


def start_run(
    name: str,
    config: Mapping[str, Any] | None = None,
    *,
    project: str = UNCATEGORIZED,
    folder: str | Path | None = None,
    home: str | Path | None = None,
    resume_step: int | None = None,
    total_steps: int = 0,
    data: str | Path | Iterable[str | Path] = (),
    system_seconds: float = SAMPLE_SECONDS,
    record_code: bool = True,
) -> LoggedRun:
    """Start a run that this script logs; the window and ``sdgui-core runs`` show it.

    ``config``: key-value pairs, nested up to 30 levels deep. ``project``: the experiment that lists the run.
    ``folder``: the run folder (default: a new folder in the runs folder of ``home``, by default the window's).
    ``resume_step``: continue the run in ``folder`` after this step; later points are ignored. ``total_steps``: to
    show progress. ``data``: files or folders to fingerprint. ``system_seconds``: interval between samples of
    ``system/...`` metrics; 0 turns them off. ``record_code``: record the git commit, the uncommitted changes and the
    script.

    Raises UserError if the folder contains another run, is in use or cannot be written, and for invalid arguments.
    """
    logged = _logged_config(name, config, project)
    total_steps = _valid_step("total_steps", total_steps)
    run = RunDir(_run_folder(name, folder, home))
    start = _step_before(run, None if resume_step is None else _valid_step("resume_step", resume_step))
    paths = [data] if isinstance(data, (str, os.PathLike)) else list(data)
    facts = {os.fspath(path): data_facts(expand_user(path)) for path in paths}
    seed = logged.config.get("seed")
    run.create()
    lock = run.claim()
    try:
        provenance = collect(
            run, script_folder(), data=facts, seed=seed if isinstance(seed, int) else None, code=record_code
        )
        event = RunStarted(step=start, total_steps=total_steps, config_digest=logged.digest(), provenance=provenance)
        with writing(run.path, UserError):
            write_provenance(run, provenance)
            write_whole(run.config, logged.to_json().encode("utf-8", "backslashreplace"))
            run.clear_control()
            return LoggedRun(run, logged, event, lock, system_seconds)
    except BaseException:
        lock.release()
        raise


def _logged_config(name: str, config: Mapping[str, Any] | None, project: str) -> LoggedConfig:
    for field, text in (("name", name), ("project", project)):
        if not isinstance(text, str) or not 0 < len(text.strip()) <= 200:
            raise UserError(f"the run's {field} must be a text of 1 to 200 characters, not {excerpt(repr(text))}.")
    if config is not None and not isinstance(config, Mapping):
        raise UserError(f"the run's config must be a dict, such as vars(args), not {excerpt(repr(config))}.")
    values = json.loads(json.dumps(to_json_value(config or {}, 0)))
    return LoggedConfig(name=name.strip(), project=project.strip(), config=values)


def to_json_value(value: Any, depth: int) -> Any:
    """``value`` as a JSON value; other types are converted to text."""
    if depth > 30:
        raise UserError("the run's config is nested more than 30 levels deep; flatten it.")
    if isinstance(value, Mapping):
        return {str(key): to_json_value(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json_value(item, depth + 1) for item in value]
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int) and abs(value) < 1 << 63:
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)  # nan and infinity become text
    return str(value)


def _run_folder(name: str, folder: str | Path | None, home: str | Path | None) -> Path:
    if folder is not None:
        return expand_user(folder).absolute()
    base = expand_user(home) if home is not None else platformdirs.user_data_path("sdgui", appauthor=False)
    return Path(base).absolute() / "runs" / new_name(name)


def _valid_step(argument: str, value: Any) -> int:
    if (number := as_step(value)) is None:
        raise UserError(f"{argument} must be a whole number from 0, not {excerpt(repr(value))}.")
    return number


def _step_before(run: RunDir, resume_step: int | None) -> int:
    """The step after which the run starts. Raises UserError if the folder contains a run that cannot be resumed."""
    if not run.config.exists() and not run.events.exists():
        return resume_step or 0
    if resume_step is None:
        raise UserError(
            f"{run.path} already contains a run; choose another folder, or pass resume_step=STEP to continue it."
        )
    if read_logged(run.config) is None:
        raise UserError(f"{run.path} contains a run of the trainer; choose another folder.")
    Lifecycle(run.events).read()  # EventError if the events cannot be read
    return resume_step
