"""Texts about a run: the lines of its event log, and the message after it failed. No Qt.

Flow: `RunHistory` and `RunProgress` -> these functions -> event log, message bar.
"""

from __future__ import annotations

from core.spec.run.events import RunFailed, RunFinished
from core.spec.run.status import RunState
from sdgui.runs.history import RunHistory
from sdgui.runs.live import RunProgress
from sdgui.store.records import Run
from sdgui.widgets.formats import count, value
from sdgui.widgets.message import Message, error, warning

LogLine = tuple[float, str, str]  # time, level, sentence
_ENDED_BADLY = (RunState.FAILED, RunState.INTERRUPTED)


def event_lines(history: RunHistory) -> list[LogLine]:
    """The lines of the event log in chronological order; metrics are omitted."""
    lines: list[LogLine] = [(log.time, log.level, log.message) for log in history.logs]
    for number, start in enumerate(history.starts):
        title = "Training started" if number == 0 else f"Resumed at step {count(start.step)}"
        lines.append((start.time, "info", f"{title} on {start.device or 'an unknown device'}, {start.precision}."))
    for saved in history.checkpoints:
        best = ", best so far" if saved.best else ""
        lines.append((saved.time, "info", f"Saved checkpoint {saved.name} at step {count(saved.step)}{best}."))
    for row in history.evaluated:
        split = "test" if any(name.startswith("test/") for name in row.values) else "val"
        recalls = [
            f"{network} {value(row.values[name], '%')}"
            for network in ("student", "teacher")
            if (name := f"{split}/{network}/mean_recall") in row.values
        ]
        verb = "Tested" if split == "test" else "Validated"
        recall_text = f": mean recall of {', '.join(recalls)}" if recalls else ""
        lines.append((row.time, "info", f"{verb} at step {count(row.step)}{recall_text}."))
    end = history.terminal
    if isinstance(end, RunFinished):
        lines.append((end.time, "info", f"Ended at step {count(end.step)}: {end.outcome}."))
    elif isinstance(end, RunFailed):
        lines.append((end.time, "error", f"Failed at step {count(end.step)}: {end.message}"))
    lines.sort(key=lambda line: line[0])
    return lines


def end_message(
    run: Run, state: RunState, progress: RunProgress | None, terminal: RunFinished | RunFailed | None
) -> Message | None:
    """A message on why a run failed, with its traceback and the end of stderr; None for other states."""
    if state == RunState.LOST_CONTACT:
        text = "The trainer has stopped reporting. Its process is still running; it may be busy or may hang."
        return warning(text)
    if state not in _ENDED_BADLY:
        return None
    text = run.failure or (progress.failure if progress else "")
    if state == RunState.INTERRUPTED:
        text = text or "The trainer's process exited unexpectedly. Press Resume to continue from the last checkpoint."
    trace = terminal.traceback if isinstance(terminal, RunFailed) else ""
    return error(text or "The run failed.", "\n\n".join(filter(None, (run.dir.stderr_end(), trace))))
