"""The trainer and the evaluators, without Qt, SQL or a screen.

``core.spec.config``, ``core.spec.presets``, ``core.spec.run.events`` and ``core.spec.run.folder`` import no torch,
so that the window can import them and still opens quickly.

From a notebook, ``import core`` is enough: ``core.open_model``, ``core.encode``, ``core.caption``, ``core.evaluate``,
``core.preset``, ``core.train``, ``core.sweep``, ``core.read_run``; ``core.start_run`` logs your own training loop. Each
function is loaded on first use, so that ``import core`` itself loads nothing; their types are in
``core/__init__.pyi``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_FROM = {
    "Callback": "core.custom.callbacks",
    "Image": "core.tracking.media",
    "LoggedRun": "core.tracking.logged_run",
    "Model": "core.notebook.models",
    "Report": "core.notebook.models",
    "RunConfig": "core.spec.config",
    "Table": "core.tracking.media",
    "Text": "core.tracking.media",
    "UserError": "core.spec.errors",
    "caption": "core.notebook.models",
    "encode": "core.notebook.models",
    "evaluate": "core.notebook.models",
    "open_model": "core.notebook.models",
    "preset": "core.notebook.training",
    "read_run": "core.notebook.frames",
    "start_run": "core.tracking.starting",
    "sweep": "core.notebook.sweeps",
    "train": "core.notebook.training",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        metadata = import_module("importlib.metadata")  # slow to import, and rarely needed
        try:
            return metadata.version("sdgui")
        except metadata.PackageNotFoundError:
            return "not installed"
    name = name if name in _FROM else import_module("core.spec.config.renamed").current_name("python", name)
    if name not in _FROM:
        raise AttributeError(f"module 'core' has no attribute {name!r}")
    try:
        return getattr(import_module(_FROM[name]), name)
    except ModuleNotFoundError as error:
        message = import_module("core.spec.installed").not_installed(error)
        raise error if message is None else ImportError(message) from error


def __dir__() -> list[str]:
    return sorted([*globals(), "__version__", *_FROM])
