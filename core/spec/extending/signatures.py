"""The settings of a custom objective, read from the text of its file: nothing of it runs.

Flow: the form names a class -> ``settings_of`` parses the file -> the arguments of its constructor, or the fields
of the dataclass or pydantic model that it is given or is -> a row for each.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

from core.spec.errors import UserError
from core.spec.extending.references import Reference
from core.spec.reading import MEGABYTE, read_bytes

_INPUTS = ("self", "student", "teacher", "batch")  # what a loss is called with, not built with


@dataclass(frozen=True)
class Setting:
    """An argument: ``kind`` is its annotation as written, ``default`` its value; both "" and None where unknown."""

    name: str
    kind: str = ""
    default: Any = None
    required: bool = False


def settings_of(reference: Reference) -> list[Setting]:
    """The settings of what ``reference`` names in its file. Raises UserError when the file cannot be read or parsed, or
    has no such name; [] for an installed module, whose file is not looked for.
    """
    if not reference.is_file:
        return []
    try:
        tree = ast.parse(read_bytes(reference.path, MEGABYTE))
    except FileNotFoundError as error:
        raise UserError(f"There is no file {reference.place}.") from error
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise UserError(f"{reference.place}{line} is not Python.") from error
    named = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    if reference.name not in named:
        raise UserError(f"{reference.place} has no {reference.name}; it has {', '.join(list(named)[:5]) or 'nothing'}.")
    return _settings(named[reference.name], named)


def _settings(node: ast.ClassDef | ast.FunctionDef, named: dict[str, ast.ClassDef | ast.FunctionDef]) -> list[Setting]:
    if isinstance(node, ast.FunctionDef):
        return _arguments(node)
    constructor = next((one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
    if constructor is None:
        return _fields(node)
    found = _arguments(constructor)
    settings_class = named.get(found[0].kind) if len(found) == 1 else None
    return _fields(settings_class) if isinstance(settings_class, ast.ClassDef) else found


def _arguments(function: ast.FunctionDef) -> list[Setting]:
    plain = [*function.args.posonlyargs, *function.args.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(function.args.defaults)) + list(function.args.defaults)
    pairs = [*zip(plain, defaults, strict=True), *zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)]
    return [_setting(one.arg, one.annotation, default) for one, default in pairs if one.arg not in _INPUTS]


def _fields(node: ast.ClassDef) -> list[Setting]:
    """The annotated fields of a dataclass or a pydantic model."""
    return [
        _setting(one.target.id, one.annotation, one.value)
        for one in node.body
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and not one.target.id.startswith("_")
    ]


def _setting(name: str, kind: ast.expr | None, default: ast.expr | None) -> Setting:
    try:
        value = None if default is None else ast.literal_eval(default)
    except ValueError:  # an expression: its value is known only where it runs
        value = None
    return Setting(name, "" if kind is None else ast.unparse(kind), value, required=default is None)
