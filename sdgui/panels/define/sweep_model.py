"""Parses the values of a setting in a sweep, and builds the sweep. No Qt.

Formats: ``1e-5 to 1e-2 log``, ``16 to 64 step 16``, ``0, 0.1, 0.2``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from core.spec.config import RunConfig, with_absolute_paths
from core.spec.study.sweep import DEFAULT_ARM, SearchRange, Sweep, Value, check_values
from sdgui.shared.form.fields import FieldSpec, parse, text_of
from sdgui.widgets.formats import capitalize

_RANGE_PATTERN = re.compile(r"(\S+)\s+to\s+(\S+?)(?:\s+step\s+(\S+))?(\s+log)?")


def suggested_values(spec: FieldSpec, text: str) -> str:
    """Values to suggest, based on the setting's current value ``text``."""
    if spec.kind == "flag":
        return "true, false"
    if spec.kind == "choice":
        return ", ".join(spec.choices)
    if spec.kind == "text":
        return text
    value, is_whole = parse(spec, text), spec.kind == "whole"
    if not value:
        low, high = 0, 10 if is_whole else 1
    elif value < 0:
        low, high = value, 0
    elif is_whole:
        low, high = max(1, value // 2), 2 * value
    else:
        low, high = value / 10, 10 * value
    if high >= spec.maximum:  # some settings must stay below their maximum, so the range ends before it
        high = (value + spec.maximum) // 2 if is_whole else (value + spec.maximum) / 2
    return f"{text_of(low)} to {text_of(high)}{'' if is_whole or value <= 0 else ' log'}"


def parse_values(spec: FieldSpec, text: str, config: RunConfig) -> SearchRange:
    """Parse typed values. Raises ValueError if ``text`` is invalid, UserError if a value makes ``config`` invalid."""
    matched = _RANGE_PATTERN.fullmatch(text.strip()) if spec.kind in ("number", "whole") else None
    if matched is not None:
        low, high, step, log = matched.groups()
        raw: dict[str, Any] = {"low": parse(spec, low), "high": parse(spec, high), "log": bool(log)}
        raw |= {"step": parse(spec, step)} if step else {}
    else:
        choices: list[Value] = [parse(spec, part.strip()) for part in text.split(",") if part.strip()]
        if len(choices) < 2:
            raise ValueError("Enter a range such as 1e-5 to 1e-2 log, or two or more choices: 0, 0.1, 0.2.")
        raw = {"choices": choices}
    try:
        values = SearchRange.model_validate(raw)
    except ValidationError as error:
        sentence = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ValueError(f"{capitalize(sentence)}.") from error
    check_values(config, spec.path, values)
    return values


def values_text(values: SearchRange) -> str:
    """``values`` in the form that ``parse_values`` reads."""
    if values.choices:
        return ", ".join(text_of(value) for value in values.choices)
    low, high = values.bounds
    step = f" step {text_of(values.step)}" if values.step is not None else ""
    return f"{text_of(low)} to {text_of(high)}{step}{' log' if values.log else ''}"


def sweep_of(config: RunConfig, space: Mapping[str, SearchRange], steps: int, trials: int) -> Sweep:
    """A sweep over ``space`` based on ``config``. Raises ValueError if training or validation data is missing."""
    data = with_absolute_paths(config).data
    for name, path in (("training", data.train), ("validation", data.val)):
        if not path:
            raise ValueError(f"Choose {name} data first; trials are compared on the validation data.")
    return Sweep(
        name=f"{config.name or 'Experiment'} sweep"[:60],
        config=f"arms/{DEFAULT_ARM}.json",
        data={"train": data.train, "val": data.val},
        space=dict(space),
        steps=steps,
        trials=trials,
    )
