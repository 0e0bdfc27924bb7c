"""Reads the state of a git working tree: commit, branch and uncommitted changes.

No program from the repository's configuration is run: hooks, file-system monitors, filters, external diffs, text
conversions and pagers are disabled, submodules are ignored, and missing objects are not fetched. Overrides are passed
through ``GIT_CONFIG_COUNT``, which accepts names with any characters.
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

TIMEOUT_SECONDS = 10.0  # timeout of each command
MAX_DIFF_BYTES = 1 << 20
_MIN_VERSION = (2, 31)  # older versions ignore GIT_CONFIG_COUNT and would run filters
_DISABLED = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.pager": "",
    "diff.external": "",
    "diff.ignoreSubmodules": "all",
    "protocol.allow": "never",
    "gc.auto": "0",
}


class GitError(Exception):
    """git is missing, too old, too slow or failed; the message names the reason."""


@dataclass(frozen=True)
class WorkingTree:
    """The state of a working tree.

    ``diff``: the uncommitted changes of tracked files; b"" if they are larger than `MAX_DIFF_BYTES`.
    """

    folder: str
    commit: str
    branch: str  # "" for a detached head
    dirty: bool
    diff: bytes


def working_tree(folder: Path) -> WorkingTree | None:
    """The working tree that contains ``folder``; None if there is no repository. Raises GitError."""
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return None
    git = shutil.which("git")
    if git is None:
        raise GitError("git is not installed")
    _check_version(git, folder)
    overrides = _DISABLED | _disabled_filters(git, folder)
    top = _run_git(git, folder, ["rev-parse", "--show-toplevel"], overrides).decode("utf-8", "replace").strip()
    commit = _run_git(git, folder, ["rev-parse", "--verify", "-q", "HEAD"], overrides, accept=(0, 1)).decode().strip()
    branch = _run_git(git, folder, ["symbolic-ref", "--short", "-q", "HEAD"], overrides, accept=(0, 1))
    base = commit or "4b825dc642cb6eb9a060e54bf8d69288fbee4904"  # the empty tree, before the first commit
    options = ["--no-ext-diff", "--no-textconv", "--no-color", "--binary", "--ignore-submodules=all"]
    diff = _run_git(git, Path(top), ["diff", *options, base, "--"], overrides, limit=MAX_DIFF_BYTES + 1)
    return WorkingTree(
        folder=top,
        commit=commit,
        branch=branch.decode("utf-8", "replace").strip(),
        dirty=bool(diff),
        diff=diff if len(diff) <= MAX_DIFF_BYTES else b"",
    )


def digest(diff: bytes) -> str:
    return hashlib.sha256(diff).hexdigest()[:12] if diff else ""


def _check_version(git: str, folder: Path) -> None:
    text = _run_git(git, folder, ["version"], {}).decode("utf-8", "replace")
    numbers = re.search(r"(\d+)\.(\d+)", text)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < _MIN_VERSION:
        raise GitError(f"{text.strip() or 'git'} is older than {_MIN_VERSION[0]}.{_MIN_VERSION[1]}")


def _disabled_filters(git: str, folder: Path) -> dict[str, str]:
    """Config overrides that turn off all configured filters, which a diff would otherwise run."""
    output = _run_git(
        git, folder, ["config", "--null", "--name-only", "--get-regexp", r"^filter\."], _DISABLED, accept=(0, 1)
    )
    if len(output) == MAX_DIFF_BYTES:  # truncated, so that some would remain
        raise GitError("the repository has too many filters")
    overrides: dict[str, str] = {}
    for raw in output.split(b"\0"):
        name = os.fsdecode(raw)
        driver, dot, _ = name.rpartition(".")
        if dot:
            overrides |= {f"{driver}.{command}": "" for command in ("clean", "smudge", "process")}
            overrides[f"{driver}.required"] = "false"
    return overrides


def _run_git(
    git: str,
    folder: Path,
    arguments: Sequence[str],
    config: dict[str, str],
    limit: int = MAX_DIFF_BYTES,
    accept: Sequence[int] = (0,),
) -> bytes:
    """The first ``limit`` bytes of git's output. Raises GitError on a timeout or an exit status not in ``accept``."""
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
    timed_out = threading.Event()

    def kill_on_timeout() -> None:
        timed_out.set()
        process.kill()

    timer = threading.Timer(TIMEOUT_SECONDS, kill_on_timeout)
    timer.start()
    with process:
        assert process.stdout is not None
        output = process.stdout.read(limit)
        if len(output) == limit:
            process.kill()
    timer.cancel()
    if timed_out.is_set():
        raise GitError(f"git {arguments[0]} took longer than {TIMEOUT_SECONDS:.0f} s")
    if len(output) < limit and process.returncode not in accept:
        raise GitError(f"git {arguments[0]} failed in {folder}")
    return output
