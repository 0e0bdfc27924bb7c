"""Collects the provenance of a run at its start; `core.spec.run.provenance` lists the recorded fields.

Collecting is best effort and never ends a run: unavailable fields are omitted. Only listed environment variables are
recorded, and the values of options that look like secrets are masked.
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

from core.spec.children import SOURCE_FOLDER
from core.spec.files import check_inside, write_whole
from core.spec.run.folder import RunDir, RunDirError
from core.tracking.git import MAX_DIFF_BYTES, GitError, digest, working_tree
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
_QUERY = re.compile(rf"([?&][\w.-]*(?:{_SECRET}|sig)[\w.-]*=)[^&\s]+", re.IGNORECASE)
_MASK = "***"
_MAX_FILES, _MAX_FILE_BYTES = 200, 1 << 20


def collect(
    run: RunDir | None,
    code_folder: Path,
    *,
    data: Mapping[str, Any] | None = None,
    seed: int | None = None,
    code: bool = True,
) -> dict[str, Any]:
    """The provenance of this process and of the working tree of ``code_folder``, as plain data.

    With ``code``, git is queried, and uncommitted changes and custom code files are copied into ``run``, if given.
    """
    provenance: dict[str, Any] = {
        "packages": _packages(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": _machine(),
        "command": mask_secrets(sys.orig_argv),
        "variables": _variables(),
    }
    if seed is not None:
        provenance["seed"] = seed
    if data:
        provenance["data"] = dict(data)
    if code:
        with suppress(OSError):
            provenance["code"] = _code(run, code_folder)
            provenance["files"] = dict(_custom_files(run, code_folder)) if run is not None else {}
    return provenance


def script_folder() -> Path:
    """The folder of the running script; in a notebook, the current folder."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(file).resolve().parent if file else Path.cwd()


def trainer_folder() -> Path:
    """The folder of the trainer's code if it is a checkout, otherwise the current folder."""
    return SOURCE_FOLDER if SOURCE_FOLDER.name not in ("site-packages", "dist-packages") else Path.cwd()


def mask_secrets(command: Sequence[str]) -> list[str]:
    """A command line with the values of secrets (``--api-key X``, ``token=X``, also in URLs) replaced by ``***``."""
    masked_words, hide_next = [], False
    for word in command:
        option = _SECRET_OPTION.fullmatch(word)
        if hide_next and not word.startswith("--"):
            masked_words.append(_MASK)
            hide_next = False
            continue
        hide_next = False
        if option is None:
            masked_words.append(_QUERY.sub(rf"\1{_MASK}", _LOGIN.sub(rf"\1{_MASK}@", word)))
        elif option[2]:
            masked_words.append(f"{option[1]}={_MASK}")
        else:
            masked_words.append(word)
            hide_next = word.startswith("-")
    return masked_words


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
    code: dict[str, Any] = {
        "folder": tree.folder, "commit": tree.commit, "branch": tree.branch, "dirty": tree.dirty,
        "diff_digest": digest(tree.diff),
    }  # fmt: skip
    if tree.diff and run is not None:
        run.source.mkdir(exist_ok=True)
        write_whole(run.source / "working-tree.diff", tree.diff)
        code["diff"] = "source/working-tree.diff"
    elif tree.dirty and not tree.diff:
        code["problem"] = f"the uncommitted changes are larger than {MAX_DIFF_BYTES >> 20} MB and were not kept"
    return code


def _custom_files(run: RunDir, folder: Path) -> Iterator[tuple[str, str]]:
    """Copy the script and each loaded module under ``folder`` into the run, and yield their names and digests."""
    if folder == SOURCE_FOLDER:  # the trainer's own code: the commit identifies it
        return
    roots = [Path(path).resolve() for path in (sys.prefix, sys.base_prefix)]
    seen: set[Path] = set()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or len(seen) >= _MAX_FILES:
            continue
        path = Path(file).resolve()
        is_own = (
            path.suffix == ".py" and path.is_relative_to(folder) and not path.is_relative_to(SOURCE_FOLDER / "core")
        )
        if not is_own or path in seen or any(path.is_relative_to(root) for root in roots if root != folder):
            continue
        seen.add(path)
        with suppress(OSError, RunDirError):
            if path.stat().st_size <= _MAX_FILE_BYTES:
                content, name = path.read_bytes(), path.relative_to(folder)
                copy = run.source / name
                check_inside(run.path, [copy], RunDirError)
                copy.parent.mkdir(parents=True, exist_ok=True)
                write_whole(copy, content, durable=False)
                yield name.as_posix(), hashlib.sha256(content).hexdigest()[:12]


def data_facts(path: Path) -> dict[str, Any]:
    """A fingerprint of a data file or folder, independent of its location: file count, digest of names and sizes.

    A single file of up to 64 MB is identified by a digest of its content. {} for a path that does not exist or cannot
    be read.
    """
    with suppress(OSError):
        if path.is_file():
            size = path.stat().st_size
            if size > 64 << 20:
                return {"bytes": size}
            return {"bytes": size, "content": hashlib.sha256(path.read_bytes()).hexdigest()[:12]}
    listing, count = hashlib.sha256(), 0
    for folder, folders, files in os.walk(path):
        folders.sort()
        for file in sorted(files):
            file_path = Path(folder, file)
            with suppress(OSError):
                listing.update(
                    f"{file_path.relative_to(path).as_posix()}\0{file_path.stat().st_size}\n".encode(
                        "utf-8", "surrogateescape"
                    )
                )
                count += 1
    return {"files": count, "names and sizes": listing.hexdigest()[:12]} if count else {}
