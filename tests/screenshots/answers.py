"""Answers of workers, recorded once and given again: what panels show of trained models, without the models.

Flow: the window starts ``python -m tests.screenshots.answers record FOLDER HOME`` in place of a worker; it passes
every line on to a real one and back, and notes what was asked and answered in a file of ``FOLDER``. ``gathered`` joins
the files to one; ``... replay FILE HOME`` then answers from it, as a worker would.

Paths in the home are noted as ``@HOME@/...``, and those of included models as ``@MODELS@/...``, so that answers hold
wherever these lie.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, TextIO

from core.spec.children import environment, python_command
from core.spec.resources import resource_folder

HOME = "@HOME@"  # stands for the path of the home
_MODELS = "@MODELS@"
_NOT_NOTED = ("ready", "alive", "progress")
_ABOUT_PROCESS = ("cancel", "shutdown")


def recorder(folder: Path, home: Path) -> list[str]:
    """The command of a worker whose answers are noted in ``folder``."""
    return [*python_command("tests.screenshots.answers"), "record", str(folder), str(home)]


def replayer(file: Path, home: Path) -> list[str]:
    """The command of a worker that gives the answers in ``file``."""
    return [*python_command("tests.screenshots.answers"), "replay", str(file), str(home)]


def without_paths(text: str, home: Path) -> str:
    """``text`` with placeholders for the paths of ``home`` and of the included models."""
    return text.replace(str(home), HOME).replace(str(resource_folder("models")), _MODELS)


def with_paths(text: str, home: Path) -> str:
    """``text`` with the paths of ``home`` and of the included models in place of placeholders."""
    return text.replace(HOME, str(home)).replace(_MODELS, str(resource_folder("models")))


def gathered(folder: Path) -> str:
    """What the recorders of ``folder`` noted, a line for each request, the last answer where one was asked twice."""
    noted: dict[str, str] = {}
    for file in sorted(folder.glob("*.jsonl"), key=lambda file: file.stat().st_mtime):
        for line in file.read_text(encoding="utf-8").splitlines():
            noted[_key(json.loads(line)["request"])] = line
    return "".join(f"{line}\n" for _, line in sorted(noted.items()))


def _key(request: dict[str, Any]) -> str:
    return json.dumps(request, sort_keys=True)


def _asked(line: str) -> tuple[object, dict[str, Any]]:
    request = json.loads(line)
    return request.pop("id", None), request


def record(folder: Path, home: Path, requests: TextIO, replies: TextIO, command: Sequence[str] | None = None) -> None:
    """Be a worker by asking a real one (``command``), and note every request that it answers whole."""
    with subprocess.Popen(
        command or [*python_command("core"), "worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
        encoding="utf-8",
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        asked: dict[object, dict[str, Any]] = {}
        passing = partial(_pass_on, requests, worker.stdin, asked)
        threading.Thread(target=passing, name="requests", daemon=True).start()
        with (folder / f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as noted:
            for line in worker.stdout:
                replies.write(line)
                replies.flush()
                _note(json.loads(line), asked, noted, home)


def _pass_on(requests: TextIO, worker: IO[str], asked: dict[object, dict[str, Any]]) -> None:
    for line in requests:
        number, request = _asked(line)
        if request["do"] not in _ABOUT_PROCESS:
            asked[number] = {"request": request, "replies": []}
        worker.write(line)
        worker.flush()
    worker.close()


def _note(reply: dict[str, Any], asked: dict[object, dict[str, Any]], noted: TextIO, home: Path) -> None:
    number = reply.pop("id", None)
    if reply["event"] in _NOT_NOTED or number not in asked:
        return
    asked[number]["replies"].append(reply)
    if reply["event"] == "done":
        noted.write(without_paths(json.dumps(asked.pop(number), ensure_ascii=False), home) + "\n")
        noted.flush()


class Answers:
    """The recorded answers by what was asked."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._noted = [json.loads(line) for line in lines]
        self._exact = {_key(one["request"]): one["replies"] for one in self._noted}

    def to(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        """The replies to ``request``, or to the one of its verb that is most like it; a failure where there is none."""
        if (exact := self._exact.get(_key(request))) is not None:
            return exact  # type: ignore[no-any-return]
        alike = [one for one in self._noted if one["request"]["do"] == request["do"]]
        if not alike:
            message = f"No answer to {request['do']} is recorded; record anew: python -m tests.screenshots --record"
            return [{"event": "failed", "message": message, "details": ""}]
        return max(alike, key=lambda one: _common(one["request"], request))["replies"]  # type: ignore[no-any-return]


def _common(one: dict[str, Any], other: dict[str, Any]) -> int:
    return sum(name in other and other[name] == value for name, value in one.items())


def replay(file: Path, home: Path, requests: TextIO, replies: TextIO) -> None:
    """Be a worker that answers from ``file``, at once."""
    answers = Answers(with_paths(file.read_text(encoding="utf-8"), home).splitlines())

    def say(reply: dict[str, Any]) -> None:
        replies.write(json.dumps(reply, ensure_ascii=False) + "\n")
        replies.flush()

    say({"event": "ready"})
    for line in requests:
        number, request = _asked(line)
        if request["do"] == "shutdown":
            return
        if request["do"] != "cancel":  # all is answered by then
            for reply in answers.to(request):
                say({"id": number, **reply})


def main() -> None:
    """``record FOLDER HOME`` or ``replay FILE HOME`` on this process's pipes."""
    what, where, home = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    (record if what == "record" else replay)(where, home, sys.stdin, sys.stdout)


if __name__ == "__main__":
    main()
