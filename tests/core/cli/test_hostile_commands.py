"""Every verb with arguments that nobody means well: a sentence or an answer each, no traceback, no hang.

Each path that a verb takes is given a pipe, a device, a folder, damaged JSON, a name too long and so on.
"""

from __future__ import annotations

import json
import os
import signal
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.__main__ import main
from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.training.train import train
from tests.core.labelled import write_labelled

HANG_SECONDS = 10
LONGEST = 6000  # characters of a message
LONG = "n" * 5000

Command = list[str]


def hostile_paths(folder: Path) -> dict[str, str]:
    """What may be named in the place of a file."""
    folder.mkdir()

    def written(name: str, content: bytes | str) -> str:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(folder / name)

    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "pipe.csv")
    os.mkfifo(folder / "pipe.png")
    (folder / "circle").symlink_to(folder / "circle")
    (folder / "zero").symlink_to("/dev/zero")
    (folder / "zero.csv").symlink_to("/dev/zero")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "folder").mkdir()
    with (folder / "sparse.json").open("wb") as sparse:
        sparse.truncate(3 << 30)
    return {
        "pipe": str(folder / "pipe"),
        "pipe.csv": str(folder / "pipe.csv"),
        "pipe.png": str(folder / "pipe.png"),
        "zero": "/dev/zero",
        "zero link": str(folder / "zero"),
        "zero.csv": str(folder / "zero.csv"),
        "zero.png": str(folder / "zero.png"),
        "full": "/dev/full",
        "circle": str(folder / "circle"),
        "folder": str(folder / "folder"),
        "missing": str(folder / "missing"),
        "below a file": str(folder / "text" / "x.json"),
        "text": written("text", "root:x:0:0\n"),
        "empty": written("empty.json", ""),
        "empty.csv": written("empty.csv", ""),
        "bytes": written("bytes.json", bytes(range(256)) * 10),
        "bytes.csv": written("bytes.csv", bytes(range(256)) * 10),
        "bytes.png": written("bytes.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256))),
        "deep": written("deep.json", "[" * 200_000 + "]" * 200_000),
        "deep object": written("object.json", '{"a":' * 200_000 + "1" + "}" * 200_000),
        "number": written("number.json", '{"seed": ' + "9" * 5000 + "}"),
        "nan": written("nan.json", '{"seed": NaN, "steps": Infinity}'),
        "list": written("list.json", "[1, 2]"),
        "null": written("null.json", "null"),
        "keys": written("keys.json", json.dumps({f"unknown key {place}": 1 for place in range(20_000)})),
        "architecture": written("arch.json", json.dumps({"towers": {"architecture": "a" * 900_000}})),
        "stages": written("stages.json", '{"name": "x", "stages": 5}'),
        "sparse": str(folder / "sparse.json"),
        "long": LONG,
        "no text": "\udcff\udcfe",
        "line": "a\nb\x1b[31m",
        "none": "",
        "dash": "-",
        "home of nobody": "~nobody-of-that-name/x",
        "web": "https://example.org/a.json",
    }


SETTINGS = [
    "data.train=" + LONG,
    "data.train=/dev/zero",
    "data.train=/etc/passwd",
    "data.train=\udcff",
    "towers.pretrained=/etc/passwd",
    "towers.pretrained=/dev/zero",
    "towers.pretrained=" + LONG,
    "towers.architecture=" + "a" * 100_000,
    "towers.architecture=/etc/passwd",
    "towers.architecture=/dev/zero",
    "seed=" + "9" * 5000,
    "seed=-1",
    "seed=1e400",
    "name=" + "[" * 100_000,
    "optim.epochs=" + "[" * 50_000 + "]" * 50_000,
    "optim.epochs=NaN",
    "optim.epochs=1e308",
    "x" * 100_000,
    "=",
    "a.b.c=1",
    "optim=1",
    "optim.epochs",
    "=5",
    "teacher.checkpoint=" + ";" * 5000,
    "runtime.device=" + LONG,
    "data.workers=1000000",
    "optim.batch_size=1000000000",
    "teacher.kind=\x00",
    "data.train=a\x00b",
]
NUMBERS = ["-5", "0", "1e308", "nan", "99999999999999999999999", "x", ""]


def commands(made: Path, hostile: dict[str, str]) -> Iterator[Command]:
    run, index, data = str(made / "run"), str(made / "index"), str(made / "pairs" / "val.csv")
    study, config = str(made / "study.json"), str(made / "config.json")
    out = str(made / "out")
    yield from ([], ["nope"], ["--help-me"], ["train"], ["presets", LONG], ["presets", "clip", "--size", LONG])
    for number in ["100000", *NUMBERS]:
        yield ["presets", "born-again", "--chain", "--generations", number]
    for setting in SETTINGS:
        yield ["presets", "clip", "--set", setting]
        yield ["presets", "born-again", "--size", "tiny", "--chain", "--set", setting]
        yield ["train", config, f"{out}-{len(setting)}", "--set", "optim.epochs=0.01", setting]
    for path in hostile.values():
        yield ["train", path, out]
        yield ["study", path, out]
        yield ["evaluate", "--compare", path, path]
        yield ["evaluate", path, "--data", data, "--task", "retrieval"]
        yield ["evaluate", run, "--data", path, "--task", "retrieval"]
        yield ["evaluate", run, "--data", data, "--task", "zero-shot", "--templates", path]
        yield ["evaluate", f"{run}@{path[:200]}", "--data", data, "--task", "retrieval"]
        yield ["search", index, "--text", "a", "--prompts", path]
        yield ["search", index, "--image", path]
        yield ["search", index, "--minus", path]
        yield ["search", path, "--text", "a"]
        yield ["index", run, path, f"{out}-index"]
        yield ["index", path, data, f"{out}-index"]
        yield ["noise", path]
        yield ["noise", run, "--data", path]
        yield ["caption", run, path]
        yield ["caption", path, data]
        yield ["search", index, "--text", path]
    # Never a real device where something is written: an administrator's tests might take it away.
    for path in ("pipe.csv", "folder", "below a file", "long", "circle"):
        yield ["train", config, hostile[path]]
        yield ["study", study, hostile[path]]
        yield ["index", run, data, hostile[path]]
        yield ["noise", run, "--csv", hostile[path], "--force"]
        yield ["index", hostile[path], "--relocate", "a", "b"]
    for number in NUMBERS:
        yield ["evaluate", run, "--data", data, "--task", "knn", "--k", number]
        yield ["evaluate", run, "--data", data, "--task", "linear-probe", "--shots", number, "--draws", number]
        yield ["evaluate", run, "--data", data, "--task", "linear-probe", "--shots", "1", "--draws", number]
        yield ["evaluate", run, "--data", data, "--task", "retrieval", "--rerank", number]
        yield ["evaluate", run, "--data", data, "--task", "linear-probe", "--layer", number]
        yield ["search", index, "--text", "a", "--weight", number]
        yield ["search", index, "--text", "a", "-k", number]
        yield ["search", index, "--text", "a", "--min-size", number]
        yield ["search", index, "--text", "a", "--after", number]
        yield ["study", study, out, "--results", "--jobs", number]
        for option in ("--beams", "--top-k", "--top-p", "--temperature", "--seed", "--n", "--max-length", "--batch"):
            yield ["caption", run, data, option, number]
    yield ["search", index, "--text", "a", "--label", LONG]
    yield ["search", index, "--text", "a", "--folder", "a\udcff"]
    yield ["search", index, "--text", LONG * 20]
    yield ["bench", LONG]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, an index and configs as a user has them."""
    folder = tmp_path_factory.mktemp("made")
    train_data, val_data = write_labelled(folder / "pairs")
    settings = [f"data.train={train_data}", f"data.val={val_data}", "optim.batch_size=12", "optim.epochs=1"]
    config = override(preset_config("sd-clip", "tiny"), settings)
    train(config, RunDir(folder / "run"), quiet=True)
    (folder / "config.json").write_text(config.to_json())
    assert main(["index", str(folder / "run"), str(val_data), str(folder / "index")]) == 0
    study = {
        "name": "x",
        "size": "tiny",
        "steps": 1,
        "data": {"train": str(train_data), "val": str(val_data)},
        "arms": [{"name": "a", "preset": "no-such"}],
        "measures": [{"name": "v", "task": "retrieval", "data": "val"}],
    }
    (folder / "study.json").write_text(json.dumps(study))
    return folder


class _Hang(BaseException):
    pass


def run_command(command: Command) -> str:
    """What was wrong with how ``command`` ended; "" for an answer or a sentence."""

    def late(*_: Any) -> None:
        raise _Hang

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(HANG_SECONDS)
    try:
        main(command)
    except SystemExit:
        return ""
    except _Hang as hang:
        return f"no answer in {HANG_SECONDS} s, at {traceback.extract_tb(hang.__traceback__)[-3:]}"
    except BaseException as error:  # noqa: BLE001  what else comes is what is looked for
        places = [f"{Path(one.filename).name}:{one.lineno}" for one in traceback.extract_tb(error.__traceback__)[-4:]]
        return f"{type(error).__name__}: {str(error)[:200]} at {places}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return ""


@pytest.mark.slow
def test_hostile_commands_end_in_an_answer_or_a_user_error(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hostile = hostile_paths(tmp_path / "hostile")
    wrong: list[str] = []
    count = 0
    for command in commands(made, hostile):
        count += 1
        found = run_command(command)
        said = capsys.readouterr()
        if not found and len(said.err) > LONGEST:
            found = f"{len(said.err)} characters on stderr"
        if not found and "Traceback" in said.err:
            found = "a traceback on stderr"
        if found:
            wrong.append(f"{' '.join(part[:60] for part in command)!r}: {found}")
    assert count >= 200
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong)
