"""What a run was made of: recorded without running anything of the repository, without secrets, and compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import core
from core.__main__ import main
from core.cli.homes import runs
from core.spec.config import RunConfig, override
from core.spec.presets import preset_config
from core.spec.run.events import Event, EventReader, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.provenance import differing, read_provenance
from core.tracking import git
from core.tracking.git import GitError, working_tree
from core.tracking.provenance import collect, data_facts, mask_secrets
from core.training.train import train
from tests.core.images import write_pairs
from tests.core.run_files import losses


def call_git(folder: Path, *arguments: str) -> None:
    names = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *names, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    call_git(folder, "init", "-q", "-b", "trunk")
    (folder / "code.py").write_text("one = 1\n", encoding="utf-8")
    (folder / "notes.txt").write_text("a\n", encoding="utf-8")
    call_git(folder, "add", ".")
    call_git(folder, "commit", "-q", "-m", "first")
    return folder


def test_the_working_tree_is_recorded_and_its_diff_applies(repository: Path, tmp_path: Path) -> None:
    clean = working_tree(repository)
    assert clean is not None
    assert (clean.branch, clean.dirty, clean.diff, len(clean.commit)) == ("trunk", False, b"", 40)
    (repository / "code.py").write_text("one = 2\n", encoding="utf-8")
    run = RunDir(tmp_path / "run")
    run.create()
    inside = repository / "inside"
    inside.mkdir()
    code = collect(run, inside)["code"]
    assert (code["commit"], code["dirty"]) == (clean.commit, True)
    call_git(repository, "checkout", "-q", "--", ".")
    call_git(repository, "apply", str(run.path / code["diff"]))
    assert (repository / "code.py").read_text(encoding="utf-8") == "one = 2\n"
    assert working_tree(tmp_path) is None


@pytest.mark.skipif(os.name == "nt", reason="programs are shell scripts")
def test_no_command_named_by_a_repository_is_run(repository: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path / 'sprung'}\ncat\n", encoding="utf-8")
    trap.chmod(0o755)
    settings = {
        "core.fsmonitor": trap, "core.pager": trap, "diff.external": trap, "diff.odd.textconv": trap,
        "diff.odd.command": trap, "filter.odd.clean": trap, "filter.odd.smudge": trap, "filter.a=b.process": trap,
        "filter.a=b.required": "true", "core.hooksPath": tmp_path / "hooks", "core.sshCommand": trap,
        "core.alternateRefsCommand": trap,
    }  # fmt: skip
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for hook in ("post-index-change", "fsmonitor-watchman", "reference-transaction"):
        (hooks / hook).symlink_to(trap)
    with (repository / ".git" / "config").open("a", encoding="utf-8") as config:
        for name, value in settings.items():
            section, _, key = name.rpartition(".")
            kind, dot, driver = section.partition(".")
            config.write(f"[{kind}{f' {json.dumps(driver)}' if dot else ''}]\n\t{key} = {value}\n")
    (repository / ".git" / "info").mkdir(exist_ok=True)
    attributes = "code.py filter=odd diff=odd\nnotes.txt filter=a=b\n"
    (repository / ".git" / "info" / "attributes").write_text(attributes, encoding="utf-8")
    (repository / "code.py").write_text("one = 3\n", encoding="utf-8")
    (repository / "notes.txt").write_text("b\n", encoding="utf-8")
    tree = working_tree(repository)
    assert tree is not None
    assert b"+one = 3" in tree.diff
    assert b"+b" in tree.diff
    assert not (tmp_path / "sprung").exists()
    subprocess.run(["git", "diff"], cwd=repository, capture_output=True, check=False)
    assert (tmp_path / "sprung").exists(), "git itself falls into the trap"


def test_filters_that_cannot_all_be_disabled_are_not_run(repository: Path) -> None:
    with (repository / ".git" / "config").open("a", encoding="utf-8") as config:
        config.writelines(f'[filter "{"x" * 900}{number}"]\n\tclean = cat\n' for number in range(1200))
    with pytest.raises(GitError, match="too many filters"):
        working_tree(repository)


def test_a_large_diff_a_slow_git_and_no_git_are_reported(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "code.py").write_text("x" * (git.MAX_DIFF_BYTES + 10), encoding="utf-8")
    run = RunDir(tmp_path / "run")
    run.create()
    code = collect(run, repository)["code"]
    assert code["problem"] == "the uncommitted changes are larger than 1 MB and were not kept"
    assert not (run.source / "working-tree.diff").exists()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert collect(run, repository)["code"]["problem"] == "git is not installed"
    slow = tmp_path / "git"
    slow.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")
    monkeypatch.setattr(git, "TIMEOUT_SECONDS", 0.1)
    assert "took longer than" in collect(run, repository)["code"]["problem"]
    assert "code" not in collect(run, repository, code=False)


def test_no_secret_is_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SLURM_JWT", "WANDB_API_KEY", "HOME_SECRET", "SLURM_AUTH_TOKEN"):
        monkeypatch.setenv(name, "s3cret")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setattr(
        sys, "orig_argv", ["python", "train.py", "--api-key", "s3cret", "--hf_token=s3cret", "--lr", "1"]
    )
    found = collect(None, tmp_path)
    assert "s3cret" not in json.dumps(found)
    assert found["variables"]["SLURM_JOB_ID"] == "12"
    assert found["command"] == ["python", "train.py", "--api-key", "***", "--hf_token=***", "--lr", "1"]
    assert mask_secrets(["x", "password=a b", "-v", "https://me:pw@host/x", "--token", "--next"]) == [
        "x", "password=***", "-v", "https://***@host/x", "--token", "--next"
    ]  # fmt: skip
    assert mask_secrets(["--data=https://host/x.tar?X-Amz-Signature=a1&part=2&api_key=b2"]) == [
        "--data=https://host/x.tar?X-Amz-Signature=***&part=2&api_key=***"
    ]


def test_a_script_and_its_modules_are_kept(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("size = 3\n", encoding="utf-8")
    (tmp_path / "go.py").write_text(
        f"import sys; sys.path.insert(0, {str(Path(core.__file__).parent.parent)!r})\nimport core, own\n"
        "core.start_run('x', folder='run').finish()\n",
        encoding="utf-8",
    )
    subprocess.run([sys.executable, "go.py"], cwd=tmp_path, check=True, timeout=120)
    recorded = read_provenance(RunDir(tmp_path / "run"))
    assert set(recorded["files"]) == {"go.py", "own.py"}
    assert (tmp_path / "run" / "source" / "own.py").read_text(encoding="utf-8") == "size = 3\n"


def test_modules_are_not_copied_through_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of a run that is resumed may have been received."""
    (tmp_path / "code" / "part").mkdir(parents=True)
    module = tmp_path / "code" / "part" / "own.py"
    module.write_text("size = 3\n", encoding="utf-8")
    monkeypatch.setitem(sys.modules, "own", SimpleNamespace(__file__=str(module)))  # type: ignore[arg-type]
    run = RunDir(tmp_path / "run")
    run.create()
    (run.path / "source").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (run.path / "source" / "part").symlink_to(tmp_path / "elsewhere")
    assert collect(run, tmp_path / "code")["files"] == {}
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_data_are_identified_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("here", "moved"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "a.txt").write_text("abc", encoding="utf-8")
    assert data_facts(tmp_path / "here") == data_facts(tmp_path / "moved") != {}
    (tmp_path / "moved" / "sub" / "a.txt").write_text("abcd", encoding="utf-8")
    assert data_facts(tmp_path / "here") != data_facts(tmp_path / "moved")
    assert data_facts(tmp_path / "here" / "sub" / "a.txt")["bytes"] == 3
    assert data_facts(tmp_path / "none") == {}

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert data_facts(tmp_path / "here" / "sub" / "a.txt") == {}


def test_the_provenance_of_runs_is_compared() -> None:
    first = {
        "packages": {"torch": "2.6", "numpy": "2.0"},
        "code": {"commit": "a", "diff": "source/x"},
        "python": "3.11",
    }
    second = {"packages": {"torch": "2.7", "numpy": "2.0"}, "code": {"commit": "b"}, "python": "3.11"}
    assert differing([first, {}, second]) == {
        "packages.torch": ["2.6", None, "2.7"], "git commit": ["a", None, "b"]
    }  # fmt: skip
    assert differing([first, {}]) == {}


def tiny(data: tuple[Path, Path]) -> RunConfig:
    settings = ["optim.epochs=1", "optim.batch_size=12", "runtime.threads=1", "seed=5"]
    return override(preset_config("clip", "tiny"), [f"data.train={data[0]}", f"data.val={data[1]}", *settings])


def test_a_reproduced_run_has_the_same_losses_and_changes_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, home = write_pairs(tmp_path / "pairs"), tmp_path / "home"
    first = RunDir(home / "runs" / "first")
    train(tiny(data), first, quiet=True)
    (start,) = [event for event in EventReader(first.events).read_all() if isinstance(event, RunStarted)]
    recorded = read_provenance(first)
    assert recorded == start.provenance
    assert {"code", "packages", "python", "machine", "command", "seed", "data"} <= set(recorded)
    assert recorded["data"]["train"]["number of images"].isdecimal()
    again = tmp_path / "again.json"
    assert main(["reproduce", "first", "--home", str(home), "--output", str(again)]) == 0
    assert "are unchanged" in capsys.readouterr().err
    assert main(["reproduce", "first", "--home", str(home), "--output", str(again)]) == 1
    assert f"{again} already exists" in capsys.readouterr().err
    second = RunDir(home / "runs" / "second")
    assert main(["train", str(again), str(second.path)]) == 0
    assert losses(second) == losses(first) != {}
    image = next(path for path in Path(data[0]).parent.rglob("*.png"))
    image.write_bytes(image.read_bytes() + b"\0")
    recorded["packages"]["numpy"] = "0.1"
    first.provenance.write_text(json.dumps(recorded), encoding="utf-8")
    capsys.readouterr()
    assert main(["reproduce", "first", "--home", str(home), "--json"]) == 0
    differ = json.loads(capsys.readouterr().out)["differing"]
    assert differ["packages.numpy"][0] == "0.1"
    assert "data.train.names and sizes of the images" in differ or "data.val.names and sizes of the images" in differ
    assert main(["runs", "compare", "first", "second", "--home", str(home), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["environment"]["packages.numpy"][0] == "0.1"
    assert len(runs(home)) == 2


def test_unreadable_events_give_no_provenance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDir(tmp_path / "run")
    run.create()
    run.events.write_bytes(b"")

    def fail(_reader: EventReader) -> list[Event]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(EventReader, "read", fail)
    assert read_provenance(run) == {}
