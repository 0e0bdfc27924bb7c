"""Differences that prevent reproducing a run, from ``sdgui-core reproduce``. No Qt.

Flow: ``sdgui-core reproduce RUN --json`` -> ``read_report`` -> the message after *Reproduce*.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.spec.children import environment
from core.spec.config import RunConfig
from core.spec.errors import UserError
from core.spec.run.logged import LoggedConfig, read_any_config
from sdgui.runs.program import core_command
from sdgui.widgets.message import Message, info, warning

_TIMEOUT_SECONDS = 300.0  # maximum duration; reading the names and sizes of a million images takes less


@dataclass(frozen=True)
class ReproductionReport:
    """What differs now. ``differing``: name -> (then, now); ``steps``: commands that repeat a logged run."""

    config: RunConfig | LoggedConfig
    differing: dict[str, tuple[Any, Any]]
    steps: tuple[str, ...]


def read_report(folder: Path) -> ReproductionReport:
    """Compare the run in ``folder`` with this computer. Raises UserError with the program's message on failure."""
    config = read_any_config(folder / "config.json")
    command = [*core_command(), "reproduce", str(folder), "--json"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_SECONDS, env=environment(), check=False)
        raw = json.loads(done.stdout) if done.returncode == 0 else None
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"Comparing {folder.name} took longer than {_TIMEOUT_SECONDS:.0f} s; run sdgui-core reproduce instead."
        ) from error
    except ValueError:
        raw = None
    if raw is None:
        stderr_lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise UserError(
            stderr_lines[-1] if stderr_lines else f"sdgui-core reproduce exited with status {done.returncode}."
        )
    differing = {name: (then, now) for name, (then, now) in raw["differing"].items()}
    return ReproductionReport(config, differing, tuple(raw["steps"]))


def message_of(report: ReproductionReport) -> Message:
    """A message about the prepared run and the changes since the original run."""
    lines = [f"{name}: {_text(then)} then, {_text(now)} now" for name, (then, now) in report.differing.items()]
    count = "1 thing differs now:" if len(lines) == 1 else f"{len(lines)} things differ now, such as"
    if report.steps:
        commands = "To repeat the script, run:\n" + "\n".join(report.steps)
        text = "Logged by a script: the details show how to repeat the run."
        details = "\n".join([commands, *([""] if lines else []), *lines])
    else:
        text, details = "Prepared an experiment with the same config: launch it to repeat the run.", "\n".join(lines)
    if not lines:
        return info(f"{text} Code, packages, machine and data have not changed.", details)
    return warning(f"{text} {count} {lines[0]}.", details)


def _text(value: object) -> str:
    return "none" if value is None or value == "" else str(value)
