"""The layout's own rules: how large a folder, a file and a function may be, and what the window's import costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("core", "sdgui")
MOST_MODULES, MOST_LINES, LONGEST_FUNCTION = 15, 400, 60


def _files(*packages: str) -> list[Path]:
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def test_no_folder_has_too_many_modules() -> None:
    folders: dict[Path, int] = {}
    for path in _files(*PACKAGES):
        folders[path.parent] = folders.get(path.parent, 0) + (path.name != "__init__.py")
    assert {str(folder.relative_to(ROOT)): n for folder, n in folders.items() if n > MOST_MODULES} == {}


def test_no_file_is_too_long() -> None:
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in _files(*PACKAGES, "tests")}
    assert {str(path.relative_to(ROOT)): n for path, n in lines.items() if n > MOST_LINES} == {}


def test_every_module_has_a_docstring_and_no_function_is_too_long() -> None:
    long: dict[str, int] = {}
    silent: list[str] = []
    for path in _files(*PACKAGES):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if not ast.get_docstring(tree):
            silent.append(str(path.relative_to(ROOT)))
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    long[f"{path.relative_to(ROOT)}:{node.name}"] = length
    assert (silent, long) == ([], {})


@pytest.mark.parametrize("root", ["core.spec", "sdgui"])
def test_the_window_imports_nothing_heavy(root: str) -> None:
    """Every module beneath ``root`` is imported in a process of its own."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in _files(root.replace(".", "/"))
        if path.name not in ("__main__.py", "env.py") and "versions" not in path.parts
    ]
    heavy = {"torch", "torchvision", "open_clip", "faiss", "sklearn", "scipy"} | (
        {"numpy", "PIL", "PySide6"} if root == "core.spec" else set()
    )
    code = f"import sys, {', '.join(modules)}; print(*sorted({heavy!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout.split() == []


def test_the_window_opens_without_plots_and_migrations() -> None:
    later = {"numpy", "pyqtgraph", "matplotlib", "alembic", "PIL", "http.client"}
    code = f"import sys, sdgui.app.start; print(*sorted({later!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout.split() == []
