"""Logs of other tools by somebody who means harm: files by their path, drawn by hypothesis or made by hand."""

from __future__ import annotations

import json
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from core.tracking.foreign.tensorboard import masked_crc
from tests.mutations import mutated

Files = dict[str, bytes]
TIME = b"\x09" + struct.pack("<d", 1.7e9)
STATE = {
    "global_step": 2,
    "max_steps": 4,
    "log_history": [{"step": 1, "loss": 0.5}, {"step": 2, "eval_loss": 0.25, "eval_runtime": 1}],
}
ROW = {"step": 1, "timestamp": 1.7e9, "loss": 0.5, "val": {"acc": 0.5, "a": {"b": 1}}}
META = "run_id: r\nrun_name: one\nstatus: 3\nstart_time: 1700000000000\nend_time: 1700000001000\n"
PARAMS = "world_size: 2\nbatch_size: 4\nname: one\n"
LOG = "2024-05-01,12:30:00 | INFO | Train Epoch: 0 [ 8/16 (50%)] Loss: 2.1 (2.2) LR: 0.000500 Logit Scale: 14.2\n"
TRACKIO = """
CREATE TABLE metrics (id, run_name, step, timestamp, metrics);
CREATE TABLE configs (run_name, config);
"""
MLFLOW = """
CREATE TABLE experiments (experiment_id, name);
CREATE TABLE runs (run_uuid, name, status, start_time, end_time, lifecycle_stage, experiment_id);
CREATE TABLE metrics (key, value, timestamp, run_uuid, step, is_nan);
CREATE TABLE params (key, value, run_uuid);
CREATE TABLE tags (key, value, run_uuid);
"""
_TABLES = {"metrics": 6, "runs": 7, "experiments": 2, "params": 3, "tags": 3, "configs": 2}


# Encodings
def record(payload: bytes) -> bytes:
    """A record of TensorBoard, with its checksums."""
    length = struct.pack("<Q", len(payload))
    checksums = (struct.pack("<I", masked_crc(data)) for data in (length, payload))
    return length + next(checksums) + payload + next(checksums)


def scalar(step: int, value: float, tag: bytes = b"loss") -> bytes:
    """An event, as protobuf encodes it."""
    inner = b"\x0a" + bytes([len(tag)]) + tag + b"\x15" + struct.pack("<f", value)
    summary = b"\x0a" + bytes([len(inner)]) + inner
    return b"\x09" + struct.pack("<d", 1.7e9 + step) + bytes([0x10, step, 0x2A, len(summary)]) + summary


def varint(number: int) -> bytes:
    low = number & 127
    return bytes([low]) if number < 128 else bytes([low | 128]) + varint(number >> 7)


def field(number: int, content: bytes) -> bytes:
    """A field of a protobuf message that holds text, bytes or another message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def wandb(*records: bytes) -> bytes:
    """A ``.wandb`` file whose records fit in its first block."""
    chunks = (struct.pack("<IHB", zlib.crc32(b"\1" + data), len(data), 1) + data for data in records)
    return b":W&B\xe1\xbe\x00" + b"".join(chunks)


def history(step: int, **values: bytes) -> bytes:
    items = b"".join(field(1, field(1, name.encode()) + field(16, value)) for name, value in values.items())
    return field(2, items + field(2, b"\x08" + varint(step)))


def database(script: str, rows: list[tuple[str, tuple[Any, ...]]]) -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.executescript(script)
    for table, values in rows:
        connection.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(values))})", values)
    connection.commit()
    return connection.serialize()


# Drawn
def drawn() -> st.SearchStrategy[Files]:
    """A log that is changed in its structure or its bytes; checksums are right, so that the change is read."""
    text = st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace"))
    payload = st.one_of(st.binary(max_size=60), mutated(ROW, line=True), text)
    return st.one_of(
        st.lists(payload, max_size=4).map(
            lambda some: {"a/events.out.tfevents.1": b"".join(map(record, _events(some)))}
        ),
        st.lists(payload, max_size=4).map(lambda some: {"run-x.wandb": wandb(*_records(some))}),
        mutated(STATE).map(lambda state: {"trainer_state.json": state}),
        mutated(ROW, line=True).map(lambda row: {"m.jsonl": b'{"step": 0}\n' + row.replace(b"\n", b" ") + b"\n"}),
        st.lists(payload, max_size=4).map(
            lambda some: {"m.csv": b"\n".join([b"step,loss,time", *some, b"1,2,3", b""])}
        ),
        st.tuples(text, payload).map(
            lambda some: {
                "x/meta.yaml": META.encode() + some[0] + b"\n" + some[1],
                "x/metrics/loss": b"1700000000000 0.5 1\n" + some[1] + b"\n",
                "x/params/lr": some[1],
            }
        ),
        st.tuples(text, payload).map(
            lambda some: {
                "x/params.txt": PARAMS.encode() + some[0],
                "x/out.log": LOG.encode()[:60] + some[1] + LOG.encode(),
            }
        ),
        st.lists(_row(TRACKIO, ("metrics", "configs")), max_size=5).map(lambda rows: {"t.db": database(TRACKIO, rows)}),
        st.lists(_row(MLFLOW, ("metrics", "runs", "params", "tags")), max_size=5).map(
            lambda rows: {"m.db": _store(rows)}
        ),
    )


def _events(payloads: list[bytes]) -> Iterator[bytes]:
    """Payloads as events, as values of a summary, as scalars' tags and as hyperparameters."""
    yield scalar(1, 1.0)
    for payload in payloads:
        yield payload
        yield TIME + b"\x10\x02" + field(5, field(1, payload))
        yield TIME + field(5, field(1, field(1, payload) + b"\x15" + struct.pack("<f", 1.0)))
        yield TIME + field(5, field(1, field(9, field(1, field(1, b"hparams") + field(2, payload)))))


def _records(payloads: list[bytes]) -> Iterator[bytes]:
    yield history(1, loss=b"0.5")
    for payload in payloads:
        yield payload
        for kind in (2, 5, 7, 17, 18):
            yield field(kind, payload)
        yield history(2, nested=payload, loss=payload)
        yield field(5, field(1, field(1, b"lr") + field(16, payload)))


def _row(script: str, tables: tuple[str, ...]) -> st.SearchStrategy[tuple[str, tuple[Any, ...]]]:
    cell = st.one_of(
        st.none(),
        st.sampled_from([0, 1, -1, 2**62, 0.5, 1e300, "r", "x", "2024-01-01", "FINISHED", "NaN", b"\xff", b"{}"]),
        mutated(ROW, line=True).map(lambda row: row.decode("utf-8", "replace")),
    )
    width = {**_TABLES, "metrics": 5 if script == TRACKIO else 6}
    return st.sampled_from(tables).flatmap(lambda table: st.tuples(st.just(table), st.tuples(*[cell] * width[table])))


def _store(rows: list[tuple[str, tuple[Any, ...]]]) -> bytes:
    known = [("experiments", (1, "e")), ("runs", ("r", "one", "FINISHED", 1, 2, "active", 1))]
    return database(MLFLOW, [*known, *rows])


# By hand
def by_hand() -> Iterator[tuple[str, Callable[[Path], object]]]:
    """A name, and what writes the files into an empty folder."""
    leaves = ",".join(f'"{i:x}":1' for i in range(20_000))
    nested = f'{{"{"p" * 100_000}":{{{leaves}}}}}'  # a name of 2 GB, if it is written out for each value
    numbers = b"".join(field(1, field(1, b"%x" % i) + b"\x15" + bytes(4)) for i in range(200_000))
    row = (1, "a", 1, "2024-01-01", nested)
    yield "names of nested values", _writes("t.db", database(TRACKIO, [("metrics", row)]))
    yield "many values in a JSON line", _writes("m.jsonl", b'{"step":1}\n{"step":1,' + leaves.encode() * 4 + b"}\n")
    yield "many values in an event", _writes("events.out.tfevents.1", record(TIME + b"\x10\x01" + field(5, numbers)))
    yield "many entries", _writes("trainer_state.json", b'{"log_history":[' + b"{}," * 8_000_000 + b"{}]}")
    log = (LOG[:60] + "A" * 9000 + "\n") * 40
    yield "a line that is slow to match", lambda folder: _write_all(folder, {"params.txt": PARAMS, "out.log": log})
    types = [
        (1, "a", "x", "2024", '{"l":1}'),
        (2, "a", 2.5, None, 7),
        (3, "a", b"\xff", 5, b"\xff"),
        (4, b"\xff", 1, 1, "[1]"),
    ]
    yield "other types", _writes("t.db", database(TRACKIO, [("metrics", one) for one in types]))
    yield "a state that is a list", lambda folder: _write_all(folder, {"x/meta.yaml": META.replace("3", "[3]")})
    yield "names that are no text", _odd_names


def _writes(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def _write_all(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)


def _odd_names(folder: Path) -> None:
    """Undecodable bytes, line ends and control characters in every name."""
    for name in ("\udcff", "a\nb", "\x1b[2J\u202e"):
        for tool in "tbwhm":
            (folder / tool / name).mkdir(parents=True)
        (folder / "t" / name / f"{name}.csv").write_text("step,loss\n1,1\n")
        (folder / "b" / name / f"events.out.tfevents.{name}").write_bytes(record(scalar(1, 1.0)))
        (folder / "w" / name / f"{name}.wandb").write_bytes(wandb(history(1, loss=b"1")))
        (folder / "h" / name / "trainer_state.json").write_text(json.dumps(STATE))
        (folder / "m" / name / "meta.yaml").write_text(META)
        for part in ("metrics", "params"):
            (folder / "m" / name / part).mkdir()
            (folder / "m" / name / part / name).write_text("1 2 3\n")
