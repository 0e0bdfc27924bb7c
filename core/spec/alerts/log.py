"""Records sent alerts in ``alerts.jsonl`` of the home folder, so that each is sent once if several programs watch."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from core.spec.alerts.evaluating import Alert
from core.spec.alerts.rules import AlertError
from core.spec.reading import open_regular

ALERTS_FILE = "alerts.jsonl"
_LOCK_SECONDS = 5.0


class AlertLog:
    """The log of sent alerts: the program that appends an alert first sends it."""

    def __init__(self, home: Path) -> None:
        self._path = home / ALERTS_FILE
        self._offset = 0
        self._known: set[tuple[str, str]] = set()
        self._ends_mid_line = False  # its last writer was killed

    def claim(self, run: Path, alert: Alert) -> bool:
        """Record that the caller sends ``alert``; False if it has already been sent.

        If the file cannot be used, the alert is recorded only in this program.
        """
        import filelock  # noqa: PLC0415  (only needed for an alert)

        key = str(run), alert.key
        if key in self._known:
            return False
        try:
            with filelock.FileLock(self._path.with_suffix(".lock"), timeout=_LOCK_SECONDS):
                self._read()
                if key in self._known:
                    return False
                line = json.dumps({"run": str(run), "key": alert.key, **asdict(alert)}).encode() + b"\n"
                with self._path.open("ab") as file:
                    file.write(b"\n" + line if self._ends_mid_line else line)
        except (OSError, AlertError, filelock.Timeout):
            pass
        self._known.add(key)
        return True

    def _read(self) -> None:
        try:
            with open_regular(self._path, root=self._path.parent, error=AlertError) as file:
                file.seek(self._offset)
                lines = file.read()
        except FileNotFoundError:
            return
        self._offset += len(lines)
        if lines:
            self._ends_mid_line = not lines.endswith(b"\n")
        for line in lines.splitlines():
            try:
                record = json.loads(line)
                self._known.add((str(record["run"]), str(record["key"])))
            except (ValueError, KeyError, TypeError):
                continue
