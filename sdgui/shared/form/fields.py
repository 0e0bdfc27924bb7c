"""The fields of a pydantic model in groups, and conversion between typed text and values. No Qt.

Flow: ``ConfigForm`` walks ``groups_of(RunConfig)`` once, keeps the typed text of each field, and calls
``read`` to get the config or an error message per field.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from core.spec.config import RunConfig, field_errors, problems
from core.spec.reading import UnreadableError, parse_json
from sdgui.widgets.formats import capitalize

Kind = Literal["flag", "choice", "whole", "number", "text", "json"]


@dataclass(frozen=True)
class FieldSpec:
    """A field. ``path``: dotted name; ``bounds``: the allowed values in words; ``maximum``: their upper bound."""

    path: str
    title: str
    description: str
    unit: str
    kind: Kind
    choices: tuple[str, ...]
    bounds: str
    advanced: bool
    widget: str
    allows_text: bool = False  # whether text that is not a choice is allowed
    maximum: float = math.inf

    @property
    def shown_unit(self) -> str:
        """The unit; "" if the title contains it, as in "Beams"."""
        return "" if self.title.casefold().endswith(self.unit.casefold()) else self.unit

    @property
    def help(self) -> str:
        """Description and bounds as one text, for tooltips and screen readers."""
        return " ".join(part for part in (self.description, f"{self.bounds}." if self.bounds else "") if part)


@dataclass(frozen=True)
class FieldGroup:
    """A titled group of fields and subgroups."""

    path: str
    title: str
    description: str
    fields: list[FieldSpec] = field(default_factory=list)
    groups: list[FieldGroup] = field(default_factory=list)

    def all_fields(self) -> list[FieldSpec]:
        """All fields of the group and its subgroups."""
        return [*self.fields, *(field for group in self.groups for field in group.all_fields())]


def groups_of(model: type[BaseModel], own_title: str, hidden: frozenset[str] = frozenset()) -> list[FieldGroup]:
    """The top groups of ``model``: first its plain fields under ``own_title``, then each nested model."""
    root = _group(model, "", own_title, "", hidden)
    own_group = FieldGroup("", own_title, "", root.fields)
    return [own_group, *root.groups] if own_group.fields else root.groups


def _group(model: type[BaseModel], path: str, title: str, description: str, hidden: frozenset[str]) -> FieldGroup:
    about = description or (model.__doc__ or "").strip().split("\n")[0]
    group = FieldGroup(path, title, about)
    for name, info in model.model_fields.items():
        inner = f"{path}.{name}" if path else name
        if inner in hidden:
            continue
        words = info.title or name.replace("_", " ").capitalize()
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            group.groups.append(_group(info.annotation, inner, words, info.description or "", hidden))
        else:
            group.fields.append(_spec(inner, words, info))
    return group


def _spec(path: str, title: str, info: FieldInfo) -> FieldSpec:
    extra: Mapping[str, Any] = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    kind, choices = _kind(path, info.annotation)
    suggested = tuple(map(str, extra.get("choices", ())))
    return FieldSpec(
        path=path,
        title=title,
        description=info.description or "",
        unit=str(extra.get("unit", "")),
        kind="choice" if suggested else kind,
        choices=suggested or choices,
        allows_text=bool(suggested),
        bounds=_bounds(info),
        maximum=_maximum(info),
        advanced=bool(extra.get("advanced", False)),
        widget=str(extra.get("widget", "")),
    )


def _kind(path: str, annotation: Any) -> tuple[Kind, tuple[str, ...]]:
    if get_origin(annotation) is Literal:
        return "choice", tuple(str(choice) for choice in get_args(annotation))
    kinds: dict[Any, Kind] = {bool: "flag", int: "whole", float: "number", str: "text"}
    if get_origin(annotation) is dict:
        return "json", ()
    if annotation not in kinds:
        raise TypeError(f"the form has no editor for {path}: {annotation}")
    return kinds[annotation], ()


def _bounds(info: FieldInfo) -> str:
    low = high = ""
    for rule in info.metadata:
        match rule:
            case Ge(ge=bound):
                low = f"at least {text_of(bound)}"
            case Gt(gt=bound):
                low = f"above {text_of(bound)}"
            case Le(le=bound):
                high = f"at most {text_of(bound)}"
            case Lt(lt=bound):
                high = f"below {text_of(bound)}"
    bounds = " and ".join(part for part in (low, high) if part)
    return capitalize(bounds)


def _maximum(info: FieldInfo) -> float:
    bounds: list[Any] = [
        rule.le if isinstance(rule, Le) else rule.lt for rule in info.metadata if isinstance(rule, (Le, Lt))
    ]
    return min(bounds, default=math.inf)


# --- between text and values


def text_of(value: Any) -> str:
    """A value as the user would type it; ``parse`` is the inverse."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        text = repr(value)
        return text[:-2] if text.endswith(".0") else text.replace("e-0", "e-").replace("e+", "e")
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return str(value)


def parse(spec: FieldSpec, text: str) -> Any:
    """Parse typed text. Raises ValueError with a message if it is invalid. Bounds are checked by pydantic."""
    if spec.kind == "flag":
        return text == "true"
    if spec.kind in ("text", "choice"):
        return text
    if spec.kind == "json":
        return _object(text)
    typed = text.strip().replace("_", "")
    if spec.kind == "whole" and re.fullmatch(r"[+-]?[1-9]\d{0,2}(,\d{3})+", typed):  # as numbers are shown
        typed = typed.replace(",", "")
    if not typed:
        raise ValueError("Enter a number.")
    if "," in typed:
        remedy = "write 1,234 or 1234" if spec.kind == "whole" else "use a decimal point and no thousands separators"
        raise ValueError(f"{text.strip()!r} is not a number; {remedy}.")
    try:
        return _whole(typed) if spec.kind == "whole" else float(typed)
    except (ValueError, OverflowError):
        expected = "a whole number" if spec.kind == "whole" else "a number such as 0.5 or 5e-4"
        raise ValueError(f"{text.strip()!r} is not {expected}.") from None


def _object(text: str) -> dict[str, Any]:
    try:
        value = parse_json(text, "It") if text.strip() else {}
    except UnreadableError as error:
        raise ValueError(str(error)) from None
    if not isinstance(value, dict):
        raise ValueError('Enter an object in JSON, such as {"losses.py:MyLoss": {"weight": 1}}.')
    return value


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        number = float(text)  # 1e3 is a whole number too
        if not number.is_integer():
            raise
        return int(number)


def values_of(config: BaseModel) -> dict[str, Any]:
    """The values of a config by dotted field name."""
    flat: dict[str, Any] = {}

    def walk(model: BaseModel, raw: Mapping[str, Any], prefix: str) -> None:
        for name in type(model).model_fields:
            inner = getattr(model, name)
            if isinstance(inner, BaseModel):
                walk(inner, raw[name], f"{prefix}{name}.")
            else:
                flat[prefix + name] = raw[name]

    walk(config, config.model_dump(), "")
    return flat


def nest_values(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of ``values_of``: the input of ``model_validate``."""
    raw: dict[str, Any] = {}
    for path, value in flat.items():
        *groups, name = path.split(".")
        level = raw
        for group in groups:
            level = level.setdefault(group, {})
        level[name] = value
    return raw


def read(
    specs: Mapping[str, FieldSpec], texts: Mapping[str, str], base: Mapping[str, Any]
) -> tuple[RunConfig | None, dict[str, str]]:
    """Parse the texts to a config; also returns error messages by dotted field name.

    A field that cannot be parsed gets the base's value, so that the other fields are still validated.
    """
    values, errors = dict(base), {}
    for path, text in texts.items():
        try:
            values[path] = parse(specs[path], text)
        except ValueError as error:
            errors[path] = str(error)
    try:
        config = RunConfig.model_validate(nest_values(values))
    except ValidationError as error:
        return None, errors | _sentences(error)
    errors = problems(config) | errors
    return (None if errors else config), errors


_WORDS = {
    "greater_than_equal": ("ge", "Must be at least {}."),
    "greater_than": ("gt", "Must be above {}."),
    "less_than_equal": ("le", "Must be at most {}."),
    "less_than": ("lt", "Must be below {}."),
}


def _sentences(error: ValidationError) -> dict[str, str]:
    plain = field_errors(error)
    return {path: _sentence(item, plain[path]) for item in error.errors() if (path := _path(item)) in plain}


def _path(item: ErrorDetails) -> str:
    return ".".join(str(part) for part in item["loc"])


def _sentence(item: ErrorDetails, fallback: str) -> str:
    context = item.get("ctx", {})
    if item["type"] in _WORDS:
        key, words = _WORDS[item["type"]]
        return words.format(text_of(context[key]))
    if item["type"] == "string_too_short":
        return "Must not be empty."
    if item["type"] == "string_too_long":
        return f"Must have at most {context['max_length']} characters."
    if item["type"] == "finite_number":
        return "Must be a finite number."
    return fallback
