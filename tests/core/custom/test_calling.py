"""Settings become arguments of custom classes and functions, and are validated before the call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, Field

from core.custom.calling import accepted_parameters, bind_arguments, construct
from core.custom.failures import user_code
from core.spec.run.code import CodeError


@dataclass
class Plain:
    margin: float = 0.2


class Checked(BaseModel):
    heat: float = Field(1.0, gt=0)


class OfPlain:
    def __init__(self, settings: Plain) -> None:
        self.value = settings.margin


class OfChecked:
    def __init__(self, settings: Checked) -> None:
        self.value = settings.heat


class OfArguments:
    def __init__(self, width: int, heat: float = 0.5) -> None:
        self.value = width * heat


def function(student: float, power: int = 2) -> float:
    return student**power


@pytest.mark.parametrize(
    ("target", "arguments", "value"),
    [(OfPlain, {}, 0.2), (OfPlain, {"margin": 1}, 1), (OfChecked, {"heat": 2}, 2), (OfArguments, {"width": 4}, 2)],
)
def test_arguments_dataclasses_and_models_are_filled(
    target: type[Any], arguments: Mapping[str, Any], value: float
) -> None:
    assert construct("mine", target, arguments).value == value


@pytest.mark.parametrize(
    ("target", "arguments", "sentence"),
    [
        (OfPlain, {"margn": 1}, "mine: .*margn"),
        (OfChecked, {"heat": -1}, "mine: heat: .*greater than 0, not -1"),
        (OfArguments, {}, "mine: .*'width'; its parameters are width, heat"),
        (OfArguments, {"width": 1, "heats": 2}, "mine: .*'heats'; its parameters are width, heat"),
        (3, {}, "mine is int; it must be a class or a function"),
    ],
)
def test_a_wrong_argument_is_named(target: Any, arguments: Mapping[str, Any], sentence: str) -> None:
    with pytest.raises(CodeError, match=sentence):
        construct("mine", target, arguments)


def test_a_function_takes_its_settings_beside_its_inputs() -> None:
    assert bind_arguments("mine", function, {"power": 3})(student=2) == 8
    assert accepted_parameters("mine", bind_arguments("mine", function, {"power": 3}), ("student",), ("teacher",)) == [
        "student"
    ]
    with pytest.raises(CodeError, match=r"mine: .*'pwer'; its parameters are student, power"):
        bind_arguments("mine", function, {"pwer": 3})


@pytest.mark.parametrize("message", ["CUDA error: out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED"])
def test_running_out_of_memory_is_no_fault_of_the_users_code(message: str) -> None:
    with pytest.raises(RuntimeError, match=message), user_code("mine.py:Loss"):
        raise RuntimeError(message)
