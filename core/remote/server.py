"""Serves a window or a command on another computer, with one JSON object per line.

Flow: ``ssh HOST sdgui-core remote`` -> requests on stdin -> **server** -> replies on stdout. Requests: ``{"id": 1,
"do": "submit", ...}``; replies: ``{"event": "hello", ...}`` once, ``done`` (result) or ``failed`` (message) with a
request's id; unsolicited ``bytes`` and ``run_status`` of followed runs, and ``alive`` every few seconds.

Any request can arrive twice, because its reply may have been lost with the connection. The server ends with its stdin,
and after two minutes of silence, so that it does not outlive an unnoticed lost connection.
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
from core.remote.following import Follower
from core.remote.probe import probe
from core.remote.run_progress import WatchedRun
from core.remote.script import chain_script, sbatch_script
from core.remote.slurm import Slurm
from core.remote.starting import Starter
from core.spec.chain import chain_file
from core.spec.errors import UserError
from core.spec.failures import sentence
from core.spec.installed import installed_version
from core.spec.machines.answers import Submitted
from core.spec.machines.machine import Machine
from core.spec.machines.ssh import PROTOCOL
from core.spec.paths import expand_user
from core.spec.reading import MEGABYTE, UnreadableError, excerpt, parse_json, validate
from core.spec.run.folder import RunDir, RunDirError

ALIVE_SECONDS = 5.0
SILENT_SECONDS = 120.0  # exit after this time without requests; clients send something every 10 s
_MAX_LINE_BYTES = 8 * MEGABYTE
_WORKER_THREADS = 4

Request = dict[str, Any]


class Remote:
    """Serves requests on a pair of streams until they end."""

    def __init__(self, requests: TextIO, replies: TextIO, runs: Path) -> None:
        self._requests, self._replies = requests, replies
        self._runs = runs
        self._write_lock = threading.Lock()
        self._last_heard = time.monotonic()
        self._closed = threading.Event()
        self._slurm = Slurm()
        self._starter = Starter(runs, self._slurm)
        self._follower = Follower(self._send, self._slurm)
        self._pool = ThreadPoolExecutor(_WORKER_THREADS, thread_name_prefix="request")
        self._verbs: dict[str, Callable[[Request], dict[str, Any]]] = {
            "ping": lambda request: {},
            "probe": lambda request: probe(self._runs, self._slurm).model_dump(mode="json"),
            "check": self._check,
            "check_data": lambda request: {
                "findings": [finding.model_dump() for finding in checks.check_data(request["config"])]
            },
            "script": self._script,
            "submit": self._submit,
            "submit_chain": self._submit_chain,
            "submit_study": self._submit_study,
            "data_facts": lambda request: {
                "data": [facts.model_dump() for facts in checks.data_facts(dict(request["paths"]))]
            },
            "follow": self._follow,
            "unfollow": self._unfollow,
            "run_status": lambda request: self._watched_run(request).progress().model_dump(mode="json"),
            "control": self._control,
            "end": self._end,
            "checkpoints": lambda request: {
                "checkpoints": [facts.model_dump() for facts in files.checkpoints(self._folder(request))]
            },
            "read": lambda request: files.read_part(
                self._folder(request), str(request["file"]), int(request["offset"]), int(request["length"])
            ),
            "images": lambda request: {
                "images": files.small_images([str(path) for path in request["paths"]], int(request["side"]))
            },
        }

    def serve(self) -> None:
        """Serve until the requests end or the replies cannot be written."""
        about = {"version": installed_version("sdgui"), "python": platform.python_version(), "host": platform.node()}
        self._send({"event": "hello", "protocol": PROTOCOL, **about})
        threading.Thread(target=self._send_heartbeats, name="alive", daemon=True).start()
        while not self._closed.is_set() and (line := self._requests.readline(_MAX_LINE_BYTES)):
            self._last_heard = time.monotonic()
            self._dispatch(line)
        self._closed.set()
        self._follower.stop()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _send_heartbeats(self) -> None:
        while not self._closed.wait(ALIVE_SECONDS):
            self._send({"event": "alive", "time": time.time()})
            if time.monotonic() - self._last_heard > SILENT_SECONDS:
                os._exit(0)  # stdin may never end

    def _dispatch(self, line: str) -> None:
        try:
            request = parse_json(line, "a request")
            do = request["do"]
        except (UnreadableError, KeyError, TypeError):
            self._send({"event": "failed", "id": None, "message": f"not a request: {excerpt(line)}"})
            return
        if do in ("follow", "unfollow", "ping"):  # in order
            self._answer(request)
        else:
            self._pool.submit(self._answer, request)

    def _answer(self, request: Request) -> None:
        number, do = request.get("id"), str(request["do"])
        reply: dict[str, Any] = {"event": "failed", "id": number}
        try:
            if do not in self._verbs:
                raise UserError(
                    f"This version of sdgui cannot {excerpt(do)}; update sdgui on the machine (press Install on its "
                    "page)."
                )
            reply = {"event": "done", "id": number, "result": self._verbs[do](request)}
        except (KeyError, TypeError, ValueError) as error:
            reply["message"] = (
                f"the request {excerpt(do)} is incomplete or invalid: {excerpt(repr(error))}; update sdgui."
            )
        except Exception as error:  # noqa: BLE001  a bug must reach the window as a reply, and other requests continue
            reply["message"] = sentence(error) or f"{type(error).__name__}: {excerpt(str(error))}"
            if sentence(error) is None:
                traceback.print_exc()
        if number is not None:
            self._send(reply)

    def _send(self, reply: dict[str, Any]) -> None:
        line = json.dumps(reply, ensure_ascii=False) + "\n"
        try:
            with self._write_lock:
                self._replies.write(line)
                self._replies.flush()
        except (OSError, ValueError):  # the connection is lost
            self._closed.set()

    def _folder(self, request: Request) -> RunDir:
        """The run folder of a request. Raises RunDirError if it does not exist."""
        run = RunDir(expand_user(str(request["folder"])))
        if not run.path.is_dir() and chain_file(run.path) is None:  # a stage may not have started yet
            raise RunDirError(f"the run folder {run.path} does not exist on this machine; it was moved or deleted.")
        return run

    def _watched_run(self, request: Request) -> WatchedRun:
        return self._follower.watched_run(str(request["folder"]))

    def _machine(self, request: Request) -> Machine:
        return validate(
            Machine, request["machine"], "the machine's settings", remedy="Change the setting, or update sdgui there."
        )

    def _check(self, request: Request) -> dict[str, Any]:
        findings = checks.check(self._machine(request), self._runs, self._slurm, str(request.get("config", "")))
        return {"findings": [finding.model_dump() for finding in findings]}

    def _script(self, request: Request) -> dict[str, Any]:
        machine, devices = self._machine(request), _devices(request)
        name, stage = str(request["name"]), str(request.get("stage", ""))
        if stage:
            return {"script": chain_script(machine, self._starter.stage(name, stage), devices)}
        return {"script": machine.script or sbatch_script(machine, self._starter.run(name), devices)}

    def _submit(self, request: Request) -> dict[str, Any]:
        submitted = self._starter.submit(
            self._machine(request),
            str(request["name"]),
            str(request["token"]),
            str(request["config"]),
            _devices(request),
            str(request["script"]),
            _files(request.get("code", {})),
        )
        return self._poll_started(submitted)

    def _submit_chain(self, request: Request) -> dict[str, Any]:
        submitted = self._starter.submit_chain(
            self._machine(request),
            str(request["name"]),
            str(request["stage"]),
            str(request["token"]),
            str(request["chain"]),
            _devices(request),
            str(request["script"]),
        )
        return self._poll_started(submitted)

    def _submit_study(self, request: Request) -> dict[str, Any]:
        submitted = self._starter.submit_study(
            self._machine(request),
            str(request["study"]),
            _files(request["files"]),
            [str(argument) for argument in request["what"]],
            str(request["token"]),
            _devices(request),
        )
        return self._poll_started(submitted)

    def _poll_started(self, submitted: Submitted) -> dict[str, Any]:
        self._follower.poll_now(submitted.folder)
        return submitted.model_dump()

    def _follow(self, request: Request) -> dict[str, Any]:
        self._follower.follow(str(request["folder"]), request["files"])
        return {}

    def _unfollow(self, request: Request) -> dict[str, Any]:
        self._follower.unfollow(str(request["folder"]))
        return {}

    def _control(self, request: Request) -> dict[str, Any]:
        return self._change(request, lambda watched: watched.request(str(request["what"])))

    def _end(self, request: Request) -> dict[str, Any]:
        return self._change(request, lambda watched: watched.end(kill=request["how"] == "kill"))

    def _change(self, request: Request, change: Callable[[WatchedRun], None]) -> dict[str, Any]:
        self._folder(request)
        watched = self._watched_run(request)
        change(watched)
        self._follower.poll_now(str(watched.run.path))
        return watched.progress().model_dump(mode="json")


def _devices(request: Request) -> list[str]:
    return [str(device) for device in request["devices"]]


def _files(texts: Any) -> dict[str, str]:
    return {str(name): str(text) for name, text in dict(texts).items()}


def serve(runs: str) -> int:
    """Serve on stdin and stdout until they end. ``runs``: the runs folder, which may start with ~."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", errors="backslashreplace", newline="\n")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # output of libraries must not mix with replies
    requests = os.fdopen(os.dup(sys.stdin.fileno()), "r", encoding="utf-8", errors="replace")
    Remote(requests, replies, expand_user(runs).absolute()).serve()
    return 0
