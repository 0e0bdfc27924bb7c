"""What a run is made of, collected at its start: see `core.spec.run.provenance` for what is recorded.

No step of it may end a run: what cannot be learnt is left out. Of environment variables only those on a list are kept,
and values of options that look like a secret are masked.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from core.spec.children import SOURCE
from core.spec.files import write_whole
from core.spec.run.folder import RunDir
from core.tracking.git import GitError, digest, working_tree
from core.tracking.gpus import gpu_facts

_VARIABLES = (
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_LAUNCH_BLOCKING", "CUBLAS_WORKSPACE_CONFIG",
    "NVIDIA_TF32_OVERRIDE", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "OMP_NUM_THREADS", "MKL_NUM_THREADS",
    "PYTHONHASHSEED", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NCCL_*", "SLURM_*",
)  # fmt: skip
_SECRET = r"key|token|password|passwd|secret|credential|jwt|auth"
_SECRET_NAME = re.compile(_SECRET, re.IGNORECASE)
_SECRET_OPTION = re.compile(rf"((?:--?)?[\w.+/-]*(?:{_SECRET})[\w.-]*)(=.*)?", re.IGNORECASE | re.DOTALL)
_LOGIN = re.compile(r"(://)[^/@\s]+@")
_MASK = "***"
_MOST_FILES, _LARGEST_FILE = 200, 1 << 20


def collect(
    run: RunDir | None,
    code_folder: Path,
    *,
    data: Mapping[str, Any] | None = None,
    seed: int | None = None,
    code: bool = True,
) -> dict[str, Any]:
    """Everything known about this process and the working tree of ``code_folder``, as plain data.

    With ``code``, git is asked, and uncommitted changes and files of custom code are copied into ``run``, if given.
    """
    found: dict[str, Any] = {
        "packages": _packages(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": _machine(),
        "command": masked(sys.orig_argv),
        "variables": _variables(),
    }
    if seed is not None:
        found["seed"] = seed
    if data:
        found["data"] = dict(data)
    if code:
        with suppress(OSError):
            found["code"] = _code(run, code_folder)
            found["files"] = dict(_custom_files(run, code_folder)) if run is not None else {}
    return found


def script_folder() -> Path:
    """The folder of the script that runs; the current one of a notebook."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(file).resolve().parent if file else Path.cwd()


def trainer_folder() -> Path:
    """Where the trainer's code is, if that is a checkout; else the current folder."""
    return SOURCE if SOURCE.name not in ("site-packages", "dist-packages") else Path.cwd()


def masked(command: Sequence[str]) -> list[str]:
    """A command line in which the values of ``--api-key X``, ``token=X`` and the like are replaced by ``***``."""
    shown, hide = [], False
    for word in command:
        option = _SECRET_OPTION.fullmatch(word)
        if hide and not word.startswith("--"):
            shown.append(_MASK)
            hide = False
            continue
        hide = False
        if option is None:
            shown.append(_LOGIN.sub(rf"\1{_MASK}@", word))
        elif option[2]:
            shown.append(f"{option[1]}={_MASK}")
        else:
            shown.append(word)
            hide = word.startswith("-")
    return shown


def _variables() -> dict[str, str]:
    return {
        name: os.environ[name]
        for name in sorted(os.environ)
        if any(fnmatchcase(name, pattern) for pattern in _VARIABLES) and not _SECRET_NAME.search(name)
    }


@cache
def _packages() -> dict[str, str]:
    packages = {}
    for package in metadata.distributions():
        with suppress(Exception):  # a damaged installation has no name or version
            packages[str(package.metadata["Name"])] = str(package.version)
    return dict(sorted(packages.items(), key=lambda item: item[0].casefold()))


def _machine() -> dict[str, Any]:
    return {
        "host": platform.node(),
        "cpu": _cpu(),
        "cores": psutil.cpu_count() or 0,
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        **gpu_facts(),
    }


def _cpu() -> str:
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        if model := re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE):
            return model[1].strip()
    return platform.processor() or platform.machine()


def _code(run: RunDir | None, folder: Path) -> dict[str, Any]:
    try:
        tree = working_tree(folder)
    except GitError as error:
        return {"folder": str(folder), "problem": str(error)}
    if tree is None:
        return {"folder": str(folder)}
    found: dict[str, Any] = {
        "folder": tree.folder, "commit": tree.commit, "branch": tree.branch, "dirty": tree.dirty,
        "diff_digest": digest(tree.diff),
    }  # fmt: skip
    if tree.diff and run is not None:
        run.source.mkdir(exist_ok=True)
        write_whole(run.source / "working-tree.diff", tree.diff)
        found["diff"] = "source/working-tree.diff"
    elif tree.diff_size:
        found["problem"] = f"the uncommitted changes are {tree.diff_size} and were not kept"
    return found


def _custom_files(run: RunDir, folder: Path) -> Iterator[tuple[str, str]]:
    """Name and digest of the script and each loaded module under ``folder``; a copy is put into the run."""
    if folder == SOURCE:  # the trainer's own, which the commit names
        return
    roots = [Path(path).resolve() for path in (sys.prefix, sys.base_prefix)]
    seen: set[Path] = set()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or len(seen) >= _MOST_FILES:
            continue
        path = Path(file).resolve()
        is_own = path.suffix == ".py" and path.is_relative_to(folder) and not path.is_relative_to(SOURCE / "core")
        if not is_own or path in seen or any(path.is_relative_to(root) for root in roots if root != folder):
            continue
        seen.add(path)
        with suppress(OSError):
            if path.stat().st_size <= _LARGEST_FILE:
                content, name = path.read_bytes(), path.relative_to(folder)
                copy = run.source / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                write_whole(copy, content, durable=False)
                yield name.as_posix(), hashlib.sha256(content).hexdigest()[:12]


def data_facts(path: Path) -> dict[str, Any]:
    """What a file or a folder of data holds, wherever it lies: number of files and a digest of names and sizes.

    A single file of up to 64 MB is digested by its content. {} where nothing is there.
    """
    if path.is_file():
        size = path.stat().st_size
        if size > 64 << 20:
            return {"bytes": size}
        return {"bytes": size, "content": hashlib.sha256(path.read_bytes()).hexdigest()[:12]}
    names, count = hashlib.sha256(), 0
    for folder, folders, files in os.walk(path):
        folders.sort()
        for file in sorted(files):
            whole = Path(folder, file)
            with suppress(OSError):
                names.update(
                    f"{whole.relative_to(path).as_posix()}\0{whole.stat().st_size}\n".encode("utf-8", "surrogateescape")
                )
                count += 1
    return {"files": count, "names and sizes": names.hexdigest()[:12]} if count else {}
