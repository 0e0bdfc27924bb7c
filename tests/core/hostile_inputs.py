"""A campaign of hostile run folders, records, shard indexes, manifests, logs and names, in a process of its own.

``python -m tests.core.hostile_inputs FOLDER INPUTS`` reads so many of each sort as the window and the verbs do, and
prints what happened as JSON: programs started, network contacts, files written elsewhere, exceptions that are no
sentence, and the peak of memory. The process's own audit hook sees the first three, whoever caused them.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import struct
import sys
import traceback
import zlib
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from core.cli.run_tables import read_row
from core.data.errors import ImageError
from core.data.sources.opening import open_source
from core.data.sources.shards.collection import Shards, read_shards
from core.data.sources.shards.index import HEAD, MAGIC, PARTS, make_index, path_beside
from core.spec.alerts.rules import AlertRules
from core.spec.alerts.watching import Watcher, replay
from core.spec.machines.machine import Machine
from core.spec.machines.machine_list import MachineList
from core.spec.machines.machines import Machines
from core.spec.machines.path_translation import PathTranslator
from core.spec.machines.record import RemoteRecord, is_remote, record_file
from core.spec.machines.remote_runs import RemoteRuns
from core.spec.presets import preset_config
from core.spec.run.events import Evaluated, Metrics, RunStarted, encode
from core.spec.run.folder import RunDir
from core.spec.run.model_names import INTERPOLATED, locate
from core.spec.run.provenance import differing, read_provenance
from core.spec.run.status import RunStatus
from core.tracking.foreign.importing import import_runs
from sdgui.store.store import Store
from tests.core.data.samples import write_image
from tests.core.data.sources.shards.tars import row, write_shard
from tests.core.tracking.foreign import hostile_logs
from tests.mutations import mutated, survives

STARTS = ("os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile", "os.system", "pty.spawn")
CONTACTS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind", "socket.sendto")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

CONFIG = preset_config("clip", "tiny").model_dump(mode="json")
STATUS = asdict(RunStatus(pid=0, started=0.0, heartbeat=2e9, verdict="starting", host="gpu (remote)"))
RECORD = {
    **RemoteRecord(machine="gpu", folder="/there/one", script="touch OWNED", waiting=True).model_dump(),
    "seal": "",
}
EVENTS = (
    RunStarted(step=0, total_steps=12, config_digest="d", device="cpu", precision="fp32", pairs=36, parameters=7),
    Metrics(step=1, values={"train/loss": 1.0}),
    Evaluated(step=1, values={"val/student/mean_recall": 0.5}),
)
RULES = {"defaults": AlertRules(conditions=("*loss > 0.5",)).model_dump(mode="json"), "experiments": {}}
PROVENANCE = {
    "code": {"commit": "a", "branch": "main", "dirty": False, "diff": "+x"},
    "packages": {"torch": "2"},
    "machine": {"gpus": ["H100"], "cores": 2},
    "command": ["python", "train.py"],
    "data": {"train": {"images": 3}},
    "seed": 0,
}
TABLE = [["filepath", "title", "kind"], ["0.png", "a dog", "c"], ["1.png", 'a "cat", black', "c"], ["2.png", "x", ""]]
ROWS = [{"image": f"{i}.png", "captions": ["x", "y"], "kind": "c", "n": 1} for i in range(3)]
NUMBERS = st.sampled_from([0, 1, 511, 2**20, 2**31, 2**32 - 1, 2**63, 2**64 - 1])


class Campaign:
    """All sorts of inputs below ``folder``, and what came of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: dict[str, list[str]] = {"programs": [], "contacts": [], "written": [], "exceptions": []}
        self.inputs = 0
        self.watched = False
        self.home = folder / "home"
        self.store = Store.open(self.home)
        MachineList(self.home).put(Machine(name="gpu", host="gpu", launcher="slurm"))
        self.run = RunDir(self.home / "runs" / "one")
        self.logs = folder / "logs"
        self.trained = RunDir(self.home / "runs" / "trained")
        (self.trained.checkpoints / "step-00000001").mkdir(parents=True)
        for file in ("checkpoint.json", "student.safetensors"):
            (self.trained.checkpoints / "step-00000001" / file).write_text("{}")
        self.trained.config.write_text(json.dumps(CONFIG))
        self.pairs = folder / "pairs"
        for number in range(3):
            write_image(self.pairs / f"{number}.png", number)
        self.shard = write_shard(folder / "shards" / "a.tar", {str(i): row(i) for i in range(3)})
        self.index = make_index(self.shard)
        sys.addaudithook(self._audit)

    def _audit(self, event: str, given: tuple[Any, ...]) -> None:
        if not self.watched:
            return
        if event in STARTS or event == "subprocess.Popen":
            self.seen["programs"].append(f"{event} {given!r}"[:300])
        elif event in CONTACTS and "AF_UNIX" not in repr(given):
            self.seen["contacts"].append(f"{event} {given!r}"[:300])
        elif event == "open" and isinstance(given[0], str) and given[2] & WRITES:
            inside = Path(given[0]).absolute().is_relative_to(self.folder)
            if not inside and not given[0].endswith(".pyc") and "__pycache__" not in given[0]:
                self.seen["written"].append(given[0])

    def try_out(self, read: Callable[[], object]) -> None:
        self.inputs += 1
        self.watched = True
        try:
            survives(read)
        except Exception:  # noqa: BLE001  whatever it is, it is told and the next input is tried
            self.seen["exceptions"].append(traceback.format_exc()[-1500:])
        finally:
            self.watched = False

    def _begin_run(self) -> None:
        shutil.rmtree(self.run.path, ignore_errors=True)
        self.run.create()

    # A run folder, its remote record
    def read_run(self, name: str, content: bytes) -> None:
        self._begin_run()
        files = {
            "config.json": json.dumps(CONFIG).encode(),
            "status.json": json.dumps(STATUS).encode(),
            "remote.json": json.dumps(RECORD).encode(),
            "events.jsonl": b"".join(map(encode, EVENTS)),
            "control": b"stop",
        }
        for file, own in {**files, name: content}.items():
            (self.run.path / file).write_bytes(own)
        self.try_out(self._take_run)

    def _take_run(self) -> None:
        remote = RemoteRuns(Machines(self.home))
        try:
            assert remote.catch_up([self.run.path], 0.0) == {}
        finally:
            remote.close()
        assert not is_remote(self.run.path)
        assert record_file(self.run.path).exists()
        PathTranslator(self.home, "gpu").to_remote(f"{self.run.path}@best")
        self.store.import_run(self.run.path)
        read_row(self.run)

    # Shards
    def read_shard(self, facts: bytes, places: list[tuple[int, str, int]], raw: bytes | None) -> None:
        table = self.index.table.copy()
        for position, part, value in places:
            table[part][position] = value % (2**32 if part.endswith("_size") else 2**64)
        head = struct.pack(HEAD.format, MAGIC, len(facts), zlib.crc32(facts))
        path_beside(self.shard).write_bytes(head + facts + table.tobytes() if raw is None else raw)
        self.try_out(self._take_shard)

    def _take_shard(self) -> None:
        read_shards(str(self.shard))
        shards = Shards.open(str(self.shard))
        for number in range(min(len(shards), 10)):
            for ask in (shards.image, shards.texts, shards.path):
                try:
                    ask(number)
                except ImageError:
                    continue

    # Manifests
    def read_manifest(self, name: str, content: bytes) -> None:
        (self.pairs / name).write_bytes(content)
        self.try_out(lambda: self._take_manifest(self.pairs / name))

    def _take_manifest(self, path: Path) -> None:
        for one in open_source(path).rows:
            assert one.file.startswith(str(self.pairs)), one.file

    # Logs of other tools
    def read_logs(self, write: Callable[[Path], object]) -> None:
        for folder in (self.logs, self.folder / "imported"):
            shutil.rmtree(folder, ignore_errors=True)
        self.logs.mkdir()
        write(self.logs)
        self.try_out(self._take_logs)

    def _take_logs(self) -> None:
        problems: list[str] = []
        runs = self.folder / "imported"
        import_runs(self.logs, runs, False, lambda _run, problem: problems.append(problem))
        bugs = [problem for problem in problems if "cannot be imported: " in problem]
        assert not bugs, bugs
        for folder in runs.iterdir() if runs.exists() else ():
            read_row(RunDir(folder))

    # Provenance and alerts of a run, names of models
    def read_provenance(self, content: bytes) -> None:
        self._begin_run()
        self.run.provenance.write_bytes(content)
        self.try_out(lambda: differing([read_provenance(self.run), {"code": {"commit": "a"}}]))

    def read_alerts(self, content: bytes, rules: bytes) -> None:
        self._begin_run()
        self.run.events.write_bytes(content)
        (self.home / "alerts.json").write_bytes(rules)
        self.try_out(self._take_alerts)

    def _take_alerts(self) -> None:
        watcher = Watcher(self.home)
        watcher.add(self.run)
        for alert in [*watcher.poll(), *replay([self.run], AlertRules(conditions=("* > -1",)))]:
            assert alert.sentence.isprintable(), alert.sentence

    def read_name(self, name: str) -> None:
        self.try_out(lambda: locate(name))

    def by_hand(self) -> None:
        """What no change of a byte makes."""
        for name in ("config.json", "status.json", "remote.json", "events.jsonl", "control"):
            for make in (self._pipe, self._device, self._circle, self._folder):
                self.read_run(name, b"")
                make(self.run.path / name)
                self.try_out(self._take_some_run)
        wide = "filepath,title," + ",".join(f"{i:x}" for i in range(25_000))
        tall = wide + "\n" + "".join(f"{i}.png,x,{i}\n" for i in range(4000))
        for name in ("a.csv", "a.tsv"):
            self.read_manifest(name, (tall if name == "a.csv" else tall.replace(",", "\t")).encode())
        self.read_manifest("a.jsonl", b'{"image": "0.png", "title": ' + b"[" * 100_000)
        self.read_manifest("a.csv", b'filepath,title\n0.png,"' + b"x" * 5_000_000)
        for _, write in hostile_logs.by_hand():
            self.read_logs(write)
        leaves = ",".join(f'"{i:x}":1' for i in range(20_000))
        self.read_provenance(f'{{"{"p" * 100_000}":{{{leaves}}}}}'.encode())  # a name of 2 GB, if written out for each
        self.read_name(f"{INTERPOLATED}{self.trained};" * 2000 + "@0.5" * 2000)
        facts = self.index.metadata.model_dump()
        for change in ({"bad": 2**32 - 1}, {"bad": 2**20}, {"rows": 2**20}, {"size": 2**61}):
            self.read_shard(json.dumps({**facts, **change}).encode(), [], None)

    def _take_some_run(self) -> None:
        try:
            self._take_run()
        except AssertionError:
            assert not record_file(self.run.path).is_file(), "it was replaced by something that is no file"

    def _pipe(self, path: Path) -> None:
        path.unlink()
        os.mkfifo(path)

    def _device(self, path: Path) -> None:
        path.unlink()
        path.symlink_to("/dev/zero")

    def _circle(self, path: Path) -> None:
        path.unlink()
        path.symlink_to(path)

    def _folder(self, path: Path) -> None:
        path.unlink()
        path.mkdir()


def lines(content: bytes) -> bytes:
    try:
        return "\n".join(json.dumps(one) for one in json.loads(content)).encode()
    except (ValueError, TypeError, RecursionError):
        return content


def cells(mark: str) -> Callable[[bytes], bytes]:
    def write(content: bytes) -> bytes:
        try:
            table = json.loads(content)
            return "\n".join(mark.join(map(str, one)) for one in table).encode("utf-8", "replace")
        except (ValueError, TypeError, RecursionError):
            return content

    return write


def write_files(files: hostile_logs.Files, folder: Path) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def main(folder: Path, each: int) -> None:
    campaign = Campaign(folder)
    before = peak_mib()
    facts = campaign.index.metadata.model_dump()
    places = st.tuples(st.integers(0, 2), st.sampled_from([*PARTS, *(f"{part}_size" for part in PARTS)]), NUMBERS)
    tried = settings(
        max_examples=each,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    events = st.sampled_from(EVENTS).flatmap(lambda event: mutated(json.loads(encode(event)), True))
    files = st.one_of(
        st.tuples(st.just("remote.json"), mutated(RECORD)),
        st.tuples(st.just("remote.json"), mutated(RECORD)),
        st.tuples(st.just("status.json"), mutated(STATUS)),
        st.tuples(st.just("config.json"), mutated(CONFIG)),
        st.tuples(st.just("events.jsonl"), events),
        st.tuples(st.just("control"), st.binary(max_size=3000)),
    )
    tables = st.one_of(
        st.tuples(st.just("a.csv"), mutated(TABLE).map(cells(","))),
        st.tuples(st.just("a.tsv"), mutated(TABLE).map(cells("\t"))),
        st.tuples(st.just("a.jsonl"), mutated(ROWS).map(lines)),
    )
    names = st.lists(
        st.sampled_from([INTERPOLATED, str(campaign.trained), ";", "@", "0.5", "best", "\0", "x"]), max_size=12
    )
    raw = st.none() | st.just(b"") | st.binary(max_size=200)
    for strategy, take in (
        (st.tuples(files), lambda one: campaign.read_run(*one[0])),
        (st.tuples(mutated(facts), st.lists(places, max_size=4), raw), lambda one: campaign.read_shard(*one)),
        (st.tuples(tables), lambda one: campaign.read_manifest(*one[0])),
        (st.tuples(hostile_logs.drawn()), lambda one: campaign.read_logs(partial(write_files, one[0]))),
        (st.tuples(mutated(PROVENANCE)), lambda one: campaign.read_provenance(*one)),
        (st.tuples(events, mutated(RULES)), lambda one: campaign.read_alerts(*one)),
        (st.tuples(names.map("".join)), lambda one: campaign.read_name(*one)),
    ):
        tried(given(strategy)(take))()
    campaign.by_hand()
    campaign.store.close()
    print(json.dumps({"inputs": campaign.inputs, "before_mib": before, "peak_mib": peak_mib(), **campaign.seen}))


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), int(sys.argv[2]))
