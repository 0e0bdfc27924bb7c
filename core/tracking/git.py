"""The state of a git working tree: commit, branch and uncommitted changes.

Nothing that the repository's configuration names is run: hooks, file-system monitors, filters, external diffs, text
conversions and pagers are off, submodules are left alone, and missing objects are not fetched. Overrides go through
``GIT_CONFIG_COUNT``, which takes names of any characters.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS = 10.0  # for each command
LARGEST_DIFF = 1 << 20  # bytes
_OLDEST = (2, 31)  # before it GIT_CONFIG_COUNT is ignored, and filters would be run
_OFF = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.pager": "",
    "diff.external": "",
    "diff.ignoreSubmodules": "all",
    "protocol.allow": "never",
    "gc.auto": "0",
}


class GitError(Exception):
    """git is missing, too old or too slow, or refused; the message says which."""


@dataclass(frozen=True)
class WorkingTree:
    """``diff``: the uncommitted changes of tracked files, b"" where they are larger than `LARGEST_DIFF`."""

    folder: str
    commit: str
    branch: str  # "" for a detached head
    dirty: bool
    diff: bytes
    diff_size: str = ""  # in words, where the diff was left out


def working_tree(folder: Path) -> WorkingTree | None:
    """The working tree that ``folder`` is in; None outside of one. Raises GitError."""
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return None
    git = shutil.which("git")
    if git is None:
        raise GitError("git is not installed")
    _refuse_old(git, folder)
    off = _OFF | _filters_off(git, folder)
    top = _run(git, folder, ["rev-parse", "--show-toplevel"], off).decode("utf-8", "replace").strip()
    commit = _run(git, folder, ["rev-parse", "--verify", "-q", "HEAD"], off, accept=(0, 1)).decode().strip()
    branch = _run(git, folder, ["symbolic-ref", "--short", "-q", "HEAD"], off, accept=(0, 1))
    against = commit or "4b825dc642cb6eb9a060e54bf8d69288fbee4904"  # the empty tree, before the first commit
    options = ["--no-ext-diff", "--no-textconv", "--no-color", "--binary", "--ignore-submodules=all"]
    diff = _run(git, Path(top), ["diff", *options, against, "--"], off, limit=LARGEST_DIFF + 1)
    large = len(diff) > LARGEST_DIFF
    return WorkingTree(
        folder=top,
        commit=commit,
        branch=branch.decode("utf-8", "replace").strip(),
        dirty=bool(diff),
        diff=b"" if large else diff,
        diff_size=f"larger than {LARGEST_DIFF >> 20} MB" if large else "",
    )


def digest(diff: bytes) -> str:
    return hashlib.sha256(diff).hexdigest()[:12] if diff else ""


def _refuse_old(git: str, folder: Path) -> None:
    text = _run(git, folder, ["version"], {}).decode("utf-8", "replace")
    numbers = re.search(r"(\d+)\.(\d+)", text)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < _OLDEST:
        raise GitError(f"{text.strip() or 'git'} is older than {_OLDEST[0]}.{_OLDEST[1]}")


def _filters_off(git: str, folder: Path) -> dict[str, str]:
    """Overrides that switch off each filter of the configuration: comparing a file would run it."""
    listed = _run(git, folder, ["config", "--null", "--name-only", "--get-regexp", r"^filter\."], _OFF, accept=(0, 1))
    off: dict[str, str] = {}
    for raw in listed.split(b"\0"):
        name = os.fsdecode(raw)
        driver, dot, _ = name.rpartition(".")
        if dot:
            off |= {f"{driver}.{what}": "" for what in ("clean", "smudge", "process")}
            off[f"{driver}.required"] = "false"
    return off


def _run(
    git: str,
    folder: Path,
    arguments: Sequence[str],
    config: dict[str, str],
    limit: int = LARGEST_DIFF,
    accept: Sequence[int] = (0,),
) -> bytes:
    """At most ``limit`` bytes that git prints."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    variables |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}
    variables["GIT_CONFIG_COUNT"] = str(len(config))
    for number, (name, value) in enumerate(config.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    try:
        process = subprocess.Popen(
            [git, "--no-pager", *arguments],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        raise GitError(f"git cannot be started: {error.strerror or error}") from error
    late = threading.Event()

    def give_up() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(SECONDS, give_up)
    timer.start()
    with process:
        assert process.stdout is not None
        printed = process.stdout.read(limit)
        if len(printed) == limit:
            process.kill()
    timer.cancel()
    if late.is_set():
        raise GitError(f"git {arguments[0]} took longer than {SECONDS:.0f} s")
    if len(printed) < limit and process.returncode not in accept:
        raise GitError(f"git {arguments[0]} failed in {folder}")
    return printed
