"""Calls the user's classes and functions with settings from a config, which are validated first."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, get_type_hints

from pydantic import BaseModel, ValidationError

from core.custom.failures import file_of, user_code
from core.spec.reading import first_problem
from core.spec.run.code import CodeError


def construct(subject: str, target: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """The result of ``target(**arguments)``.

    If the only parameter is a pydantic model or a dataclass, this object is built from ``arguments``. Raises CodeError
    if an argument is missing, unknown or invalid, or the call fails.
    """
    parameters = _parameters(subject, target)
    with user_code(subject, file_of(target)):
        settings = _settings_class(target, parameters[0]) if len(parameters) == 1 else None
    if settings is not None:
        _check_arguments(subject, inspect.signature(settings).bind, _parameters(subject, settings), arguments)
        with user_code(subject, file_of(target)):
            try:
                return target(settings(**arguments))
            except ValidationError as error:
                raise CodeError(f"{subject}: {first_problem(error)}") from error
    _check_arguments(subject, inspect.signature(target).bind, parameters, arguments)
    with user_code(subject, file_of(target)):
        return target(**arguments)


def bind_arguments(subject: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Callable[..., Any]:
    """``function`` with some arguments bound. Raises CodeError for an argument that it does not accept."""
    bind = _signature(subject, function).bind_partial
    _check_arguments(subject, bind, _parameters(subject, function), arguments)
    return functools.partial(function, **arguments) if arguments else function


def accepted_parameters(
    subject: str, target: Callable[..., Any], required: Collection[str], optional: Collection[str]
) -> list[str]:
    """The parameters of ``target`` that are in ``required`` or ``optional``.

    Raises CodeError if a ``required`` parameter is missing, or another parameter has no default.
    """
    every = _signature(subject, target).parameters.values()
    plain = [
        parameter for parameter in every if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    names = [parameter.name for parameter in plain]
    accepted_names = [*required, *optional]
    unknown = [
        parameter.name
        for parameter in plain
        if parameter.name not in accepted_names and parameter.default is parameter.empty
    ]
    if unknown or any(name not in names for name in required):
        also = f", and can have {' and '.join(optional)}" if optional else ""
        raise CodeError(
            f"{subject} has the parameters ({', '.join(names)}); it must have {' and '.join(required)}{also}."
        )
    return [name for name in names if name in accepted_names]


def check_takes_one(subject: str, target: Callable[..., Any], name: str) -> None:
    """Raise CodeError unless ``target`` can be called with one argument, which the message calls ``name``."""
    try:
        _signature(subject, target).bind(None)
    except TypeError:
        parameters = ", ".join(_parameters(subject, target))
        raise CodeError(
            f"{subject} has the parameters ({parameters}); it must accept one argument, the {name}."
        ) from None


def is_required(target: Callable[..., Any], name: str) -> bool:
    """Whether ``target`` has the parameter ``name``, without a default."""
    parameter = inspect.signature(target).parameters.get(name)
    return parameter is not None and parameter.default is parameter.empty


def _check_arguments(
    subject: str, bind: Callable[..., object], parameters: Collection[str], arguments: Mapping[str, Any]
) -> None:
    try:
        bind(**arguments)
    except TypeError as error:
        accepted_text = f"its parameters are {', '.join(parameters)}" if parameters else "it has no parameters"
        raise CodeError(f"{subject}: {error}; {accepted_text}.") from None


def _parameters(subject: str, target: Callable[..., Any]) -> list[str]:
    return list(_signature(subject, target).parameters)


def _signature(subject: str, target: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(target)
    except (TypeError, ValueError):
        raise CodeError(f"{subject} is {type(target).__name__}; it must be a class or a function.") from None


def _settings_class(target: Callable[..., Any], name: str) -> type | None:
    """The type of the parameter ``name`` of ``target`` if it is a pydantic model or a dataclass."""
    function = target.__init__ if inspect.isclass(target) else target
    kind = get_type_hints(function).get(name)
    is_settings = isinstance(kind, type) and (issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind))
    return kind if is_settings else None
