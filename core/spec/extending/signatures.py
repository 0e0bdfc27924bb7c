"""Parses the settings of a custom objective from its source, without running the code.

Flow: the form passes a reference to a class -> ``settings_of`` parses the file -> the arguments of the constructor, or
the fields of its dataclass or pydantic model -> one row of the form each.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

from core.spec.errors import UserError
from core.spec.extending.references import Reference
from core.spec.reading import MEGABYTE, read_bytes

_INPUTS = ("self", "student", "teacher", "batch")  # arguments of a loss's call, not settings


@dataclass(frozen=True)
class Setting:
    """An argument. ``kind``: the annotation as written, or "". ``default``: the default value, None if unknown."""

    name: str
    kind: str = ""
    default: Any = None
    required: bool = False


def settings_of(reference: Reference) -> list[Setting]:
    """The settings of the class or function that ``reference`` refers to; [] for an installed module.

    Raises UserError if the file cannot be read or parsed, or has no such class or function.
    """
    if not reference.is_file:
        return []
    try:
        tree = ast.parse(read_bytes(reference.path, MEGABYTE))
    except FileNotFoundError as error:
        raise UserError(f"There is no file {reference.location}; check the path.") from error
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise UserError(f"{reference.location}{line} is not valid Python.") from error
    definitions = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    if reference.name not in definitions:
        raise UserError(
            f"{reference.location} has no {reference.name}; available: {', '.join(list(definitions)[:5]) or 'none'}."
        )
    return _settings(definitions[reference.name], definitions)


def _settings(
    node: ast.ClassDef | ast.FunctionDef, definitions: dict[str, ast.ClassDef | ast.FunctionDef]
) -> list[Setting]:
    if isinstance(node, ast.FunctionDef):
        return _arguments(node)
    methods = (member for member in node.body if isinstance(member, ast.FunctionDef))
    constructor = next((method for method in methods if method.name == "__init__"), None)
    if constructor is None:
        return _fields(node)
    arguments = _arguments(constructor)
    settings_class = definitions.get(arguments[0].kind) if len(arguments) == 1 else None
    return _fields(settings_class) if isinstance(settings_class, ast.ClassDef) else arguments


def _arguments(function: ast.FunctionDef) -> list[Setting]:
    plain = [*function.args.posonlyargs, *function.args.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(function.args.defaults)) + list(function.args.defaults)
    pairs = [*zip(plain, defaults, strict=True), *zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)]
    return [
        _setting(argument.arg, argument.annotation, default)
        for argument, default in pairs
        if argument.arg not in _INPUTS
    ]


def _fields(node: ast.ClassDef) -> list[Setting]:
    """The annotated fields of a dataclass or a pydantic model."""
    return [
        _setting(statement.target.id, statement.annotation, statement.value)
        for statement in node.body
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and not statement.target.id.startswith("_")
    ]


def _setting(name: str, kind: ast.expr | None, default: ast.expr | None) -> Setting:
    try:
        value = None if default is None else ast.literal_eval(default)
    except ValueError:  # not a literal
        value = None
    return Setting(name, "" if kind is None else ast.unparse(kind), value, required=default is None)
