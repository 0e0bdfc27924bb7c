"""A program that answers a window, or a verb, on another computer: one JSON object a line, as the worker does.

Flow: ``ssh HOST sdgui-core remote`` -> requests on stdin -> **server** -> replies on stdout. Requests: ``{"id": 1,
"do": "submit", ...}``; replies: ``{"event": "hello", ...}`` once, ``done`` (result) or ``failed`` (message) with a
request's id; unasked ``bytes`` and ``standing`` of followed runs, and ``alive`` every few seconds.

Every request can come twice, since its answer may have been lost with the line. The program ends with its stdin, and
when nothing was heard for two minutes, so that none stays behind on a machine whose line was cut unnoticed.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TextIO

from core.remote import checks, files
from core.remote.following import Following
from core.remote.probe import probe, version
from core.remote.script import chain_script, sbatch_script
from core.remote.slurm import Slurm
from core.remote.standing import Watched
from core.remote.starting import Starter
from core.spec.chain import chain_file, run_label
from core.spec.errors import UserError
from core.spec.failures import sentence
from core.spec.machines.answers import RunFacts
from core.spec.machines.machine import Machine
from core.spec.machines.ssh import PROTOCOL
from core.spec.paths import expand_user
from core.spec.reading import MEGABYTE, UnreadableError, checked, excerpt, parse_json
from core.spec.run.folder import RunDir, RunDirError

ALIVE_SECONDS = 5.0
SILENT_SECONDS = 120.0  # the other end says something every 10 s
_LONGEST = 8 * MEGABYTE
_THREADS = 4

Request = dict[str, Any]


class Remote:
    """Answers on a pair of streams until the requests end."""

    def __init__(self, requests: TextIO, replies: TextIO, runs: Path) -> None:
        self._requests, self._replies = requests, replies
        self._runs = runs
        self._line = threading.Lock()
        self._heard = time.monotonic()
        self._gone = threading.Event()
        self._slurm = Slurm()
        self._starter = Starter(runs, self._slurm)
        self._following = Following(self._send, self._slurm)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="request")
        self._verbs: dict[str, Callable[[Request], dict[str, Any]]] = {
            "ping": lambda asked: {},
            "probe": lambda asked: probe(self._runs, self._slurm).model_dump(mode="json"),
            "check": self._check,
            "check_data": lambda asked: {"findings": [one.model_dump() for one in checks.check_data(asked["config"])]},
            "script": self._script,
            "submit": self._submit,
            "submit_chain": self._submit_chain,
            "submit_study": self._submit_study,
            "data_facts": lambda asked: {"data": [one.model_dump() for one in checks.data_facts(dict(asked["paths"]))]},
            "follow": self._follow,
            "unfollow": self._unfollow,
            "run_status": lambda asked: self._watched(asked).stand().model_dump(mode="json"),
            "control": self._control,
            "end": self._end,
            "runs": lambda asked: {"runs": [one.model_dump(mode="json") for one in self._list()]},
            "checkpoints": lambda asked: {
                "checkpoints": [one.model_dump() for one in files.checkpoints(self._folder(asked))]
            },
            "read": lambda asked: files.read_part(
                self._folder(asked), str(asked["file"]), int(asked["offset"]), int(asked["length"])
            ),
            "images": lambda asked: {
                "images": files.small_images([str(one) for one in asked["paths"]], int(asked["side"]))
            },
        }

    def serve(self) -> None:
        """Until the requests end, or nobody listens any more."""
        self._send(
            {
                "event": "hello",
                "protocol": PROTOCOL,
                "version": version("sdgui"),
                "python": platform.python_version(),
                "host": platform.node(),
            }
        )
        threading.Thread(target=self._beat, name="alive", daemon=True).start()
        while not self._gone.is_set() and (line := self._requests.readline(_LONGEST)):
            self._heard = time.monotonic()
            self._take(line)
        self._gone.set()
        self._following.end()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _beat(self) -> None:
        while not self._gone.wait(ALIVE_SECONDS):
            self._send({"event": "alive", "time": time.time()})
            if time.monotonic() - self._heard > SILENT_SECONDS:
                os._exit(0)  # stdin may never end

    def _take(self, line: str) -> None:
        try:
            asked = parse_json(line, "a request")
            do = asked["do"]
        except (UnreadableError, KeyError, TypeError):
            self._send({"event": "failed", "id": None, "message": f"not a request: {excerpt(line)}"})
            return
        if do in ("follow", "unfollow", "ping"):  # in their order
            self._answer(asked)
        else:
            self._pool.submit(self._answer, asked)

    def _answer(self, asked: Request) -> None:
        number, do = asked.get("id"), str(asked["do"])
        reply: dict[str, Any] = {"event": "failed", "id": number}
        try:
            if do not in self._verbs:
                raise UserError(f"This version of sdgui cannot {excerpt(do)}; update it with Install there.")
            reply = {"event": "done", "id": number, "result": self._verbs[do](asked)}
        except (KeyError, TypeError, ValueError) as error:
            reply["message"] = (
                f"the request {excerpt(do)} is incomplete or wrong: {excerpt(repr(error))}; update sdgui."
            )
        except Exception as error:  # noqa: BLE001  a bug must reach the window as a reply, and the others go on
            reply["message"] = sentence(error) or f"{type(error).__name__}: {excerpt(str(error))}"
            if sentence(error) is None:
                traceback.print_exc()
        if number is not None:
            self._send(reply)

    def _send(self, reply: dict[str, Any]) -> None:
        line = json.dumps(reply, ensure_ascii=False) + "\n"
        try:
            with self._line:
                self._replies.write(line)
                self._replies.flush()
        except (OSError, ValueError):  # the line is gone
            self._gone.set()

    # The verbs
    def _folder(self, asked: Request) -> RunDir:
        """The run folder that a request is about: one in the runs folder, or any that was started by this program."""
        run = RunDir(expand_user(str(asked["folder"])))
        if not run.path.is_dir() and chain_file(run.path) is None:  # a stage may be yet to begin
            raise RunDirError(
                f"there is no run folder {excerpt(str(run.path))} on this machine; it was moved or deleted."
            )
        return run

    def _watched(self, asked: Request) -> Watched:
        return self._following.watched(str(asked["folder"]))

    def _machine(self, asked: Request) -> Machine:
        return checked(Machine, asked["machine"], "the machine's settings", remedy="Change it, or update sdgui there.")

    def _check(self, asked: Request) -> dict[str, Any]:
        found = checks.check(self._machine(asked), self._runs, self._slurm, str(asked.get("config", "")))
        return {"findings": [one.model_dump() for one in found]}

    def _script(self, asked: Request) -> dict[str, Any]:
        machine, devices = self._machine(asked), [str(one) for one in asked["devices"]]
        name, stage = str(asked["name"]), str(asked.get("stage", ""))
        if stage:
            return {"script": chain_script(machine, self._starter.stage(name, stage), devices)}
        return {"script": machine.script or sbatch_script(machine, self._starter.run(name), devices)}

    def _submit(self, asked: Request) -> dict[str, Any]:
        submitted = self._starter.submit(
            self._machine(asked),
            str(asked["name"]),
            str(asked["token"]),
            str(asked["config"]),
            [str(one) for one in asked["devices"]],
            str(asked["script"]),
            {str(name): str(text) for name, text in dict(asked.get("code", {})).items()},
        )
        self._following.look(submitted.folder)
        return submitted.model_dump()

    def _submit_chain(self, asked: Request) -> dict[str, Any]:
        submitted = self._starter.submit_chain(
            self._machine(asked),
            str(asked["name"]),
            str(asked["stage"]),
            str(asked["token"]),
            str(asked["chain"]),
            [str(one) for one in asked["devices"]],
            str(asked["script"]),
        )
        self._following.look(submitted.folder)
        return submitted.model_dump()

    def _submit_study(self, asked: Request) -> dict[str, Any]:
        submitted = self._starter.submit_study(
            self._machine(asked),
            str(asked["study"]),
            {str(name): str(text) for name, text in dict(asked["files"]).items()},
            [str(one) for one in asked["what"]],
            str(asked["token"]),
            [str(one) for one in asked["devices"]],
        )
        self._following.look(submitted.folder)
        return submitted.model_dump()

    def _follow(self, asked: Request) -> dict[str, Any]:
        self._following.follow(str(asked["folder"]), asked["files"])
        return {}

    def _unfollow(self, asked: Request) -> dict[str, Any]:
        self._following.unfollow(str(asked["folder"]))
        return {}

    def _control(self, asked: Request) -> dict[str, Any]:
        self._folder(asked)
        watched = self._watched(asked)
        watched.ask(str(asked["what"]))
        return self._looked_at(watched)

    def _end(self, asked: Request) -> dict[str, Any]:
        self._folder(asked)
        watched = self._watched(asked)
        watched.end(kill=asked["how"] == "kill")
        return self._looked_at(watched)

    def _looked_at(self, watched: Watched) -> dict[str, Any]:
        self._following.look(str(watched.run.path))
        return watched.stand().model_dump(mode="json")

    def _list(self) -> list[RunFacts]:
        found = []
        for path in sorted([*self._runs.glob("*/config.json"), *self._runs.glob("*/stage-*/config.json")]):
            run = RunDir(path.parent)
            try:
                standing = Watched(run, self._slurm).stand()
            except UserError:
                continue
            status = standing.status
            found.append(
                RunFacts(
                    folder=str(run.path),
                    name=run_label(run.path),
                    state=standing.state,
                    step=status.step if status else standing.step,
                    total_steps=status.total_steps if status else 0,
                    started=status.started if status else None,
                )
            )
        return found


def serve(runs: str) -> int:
    """Answer on this process's stdin and stdout until they end; ``runs`` is the runs folder, in which ~ is a home."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", errors="backslashreplace", newline="\n")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # prints of libraries must not mix with replies
    requests = os.fdopen(os.dup(sys.stdin.fileno()), "r", encoding="utf-8", errors="replace")
    Remote(requests, replies, expand_user(runs).absolute()).serve()
    return 0
