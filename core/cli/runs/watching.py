"""The command ``runs watch``: alerts about runs without a window, and a dry run of the rules."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from core.cli.homes import add_home, find_run, runs
from core.cli.terminal import Subparsers, one_line, say
from core.spec.run.folder import RunDir
from core.spec.run.status import LOST_AFTER_SECONDS

if TYPE_CHECKING:
    from core.spec.alerts.watching import RunAlert, Watcher

_SCAN_INTERVAL_S = 6.0  # interval between searches for new runs


def add(commands: Subparsers) -> None:
    """Add ``watch`` to ``runs``."""
    watch = commands.add_parser("watch", help="alert when runs end, fail, stall, diverge, collapse or fill the disk")
    watch.add_argument(
        "runs", nargs="*", metavar="RUN", help="runs to watch until they end (default: all, until interrupted)"
    )
    watch.add_argument("--rules", type=Path, metavar="FILE", help="rules (default: alerts.json in the home folder)")
    watch.add_argument("--dry-run", action="store_true", help="only print the alerts that the rules would have raised")
    watch.add_argument("--json", action="store_true", help="print JSON lines")
    add_home(watch)
    watch.set_defaults(handler=_watch)


def _watch(arguments: argparse.Namespace) -> int:
    from core.spec.alerts.rules import RULES_FILE, AlertError, Rules
    from core.spec.alerts.watching import Watcher, replay
    from core.spec.machines.machines import Machines
    from core.spec.machines.remote_runs import RemoteRuns

    home = arguments.home
    if arguments.rules is not None and not arguments.rules.is_file():
        raise AlertError(f"the file {arguments.rules} does not exist; create it, or omit --rules.")
    named = [find_run(home, name) for name in arguments.runs]
    if arguments.dry_run:
        for alert in replay(named or runs(home), Rules(arguments.rules or home / RULES_FILE)):
            _print(alert, arguments.json)
        return 0
    watcher = Watcher(home, arguments.rules)
    with closing(RemoteRuns(Machines(home), lambda _folder, sentence: say(one_line(sentence)))) as remote:
        remote.attach_unsettled([run.path for run in named or runs(home)])
        _follow(watcher, home, named, arguments.json)
    return 0


def _follow(watcher: Watcher, home: Path, named: Sequence[RunDir], as_json: bool) -> None:
    """Print and send alerts until the ``named`` runs have ended; if there are none, until interrupted."""
    from core.spec.alerts.sending import send
    from core.spec.alerts.watching import POLL_SECONDS

    known, listed = {run.path for run in runs(home)}, -_SCAN_INTERVAL_S
    for run in named:
        watcher.add(run)
    while watcher.watched or not named:
        if not named and time.monotonic() - listed >= _SCAN_INTERVAL_S:
            listed = time.monotonic()
            for run in _new_or_active(runs(home), known):
                watcher.add(run)
        for alert in watcher.poll():
            _print(alert, as_json)
            watcher.problems += send(alert)
        while watcher.problems:
            say(one_line(watcher.problems.pop()))
        time.sleep(POLL_SECONDS)


def _new_or_active(listed: Sequence[RunDir], known: set[Path]) -> list[RunDir]:
    """The runs in ``listed`` that are not in ``known``, or whose status was recently renewed. Updates ``known``."""
    selected = [run for run in listed if run.path not in known or _has_heartbeat(run)]
    known.update(run.path for run in listed)
    return selected


def _has_heartbeat(run: RunDir) -> bool:
    with suppress(OSError):
        return time.time() - run.status.stat().st_mtime < LOST_AFTER_SECONDS
    return False


def _print(alert: RunAlert, as_json: bool) -> None:
    from core.spec.alerts.sending import content

    if as_json:
        print(json.dumps(content(alert)), flush=True)
    else:
        moment = datetime.fromtimestamp(alert.alert.time).strftime("%Y-%m-%d %H:%M:%S")
        print(f"{moment}  {one_line(alert.sentence)}", flush=True)
