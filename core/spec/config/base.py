"""The base of every section of a config: frozen fields with metadata for the form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticUndefined

from core.spec.errors import UserError

MAX_TEXT_LENGTH = 10_000  # characters


class ConfigError(UserError):
    """An invalid config; the message names the field, the value and the remedy."""


def _sane_text(value: Any) -> Any:
    """Refuse null characters, invalid UTF-8 and very long text."""
    if isinstance(value, str) and len(value) > MAX_TEXT_LENGTH:
        raise ValueError(f"it has {len(value)} characters, at most {MAX_TEXT_LENGTH} are allowed")
    if isinstance(value, str) and "\0" in value:
        raise ValueError("it contains a null character")
    if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError("it contains bytes that are not valid UTF-8; rename the file")
    return value


Text = Annotated[str, BeforeValidator(_sane_text)]  # text in a config: a name, a path, a label


class Section(BaseModel):
    """A frozen group of fields; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, defer_build=True)


def setting(
    default: Any, title: str, description: str | None, *, unit: str = "", advanced: bool = False, widget: str = "",
    choices: Iterable[str] = (), **limits: Any,
) -> Any:  # fmt: skip
    """A field with its default, title, description and metadata for the form.

    ``unit``: shown after the value. ``advanced``: show the field under *More*. ``widget``: the editor. ``choices``:
    suggested values for a text field. ``limits``: such as pydantic's ``ge``.
    """
    optional = {"choices": list(choices), "advanced": advanced, "widget": widget}
    extra: dict[str, Any] = {"unit": unit, **{name: value for name, value in optional.items() if value}}
    return Field(default, title=title, description=description, json_schema_extra=extra, **limits)


def shared_setting(title: str, description: str | None = None, **metadata: Any) -> Any:
    """What several settings have in common, for ``Annotated``; each setting has its own default. See `setting`."""
    return setting(PydanticUndefined, title, description, **metadata)


def section(kind: type[Section], title: str, description: str) -> Any:
    """A field with a section, by default with the section's defaults."""
    return Field(default_factory=kind, title=title, description=description)


Share = Annotated[float, Field(ge=0.0, le=1.0)]
