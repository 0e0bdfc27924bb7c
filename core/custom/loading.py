"""Loads the objects that a config references: from the copies in a run folder, or passed to ``core.train``.

Flow: ``core.spec.run.code.keep_code`` copies the files and checks who started the run -> ``CustomCode.load``. Each copy
is read only once, so that the bytes whose digest was checked are the bytes that run.
"""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torch import nn

from core.custom.failures import user_code
from core.spec.errors import nearest
from core.spec.extending.references import PASSED_OBJECT, Reference, parse_reference
from core.spec.run.code import CodeError, check_allowed, copy_path, digest_of, read_copy, source_of
from core.spec.run.folder import RunDir


class CustomCode:
    """The code that may run when a run is trained or opened; none without a run folder and ``python_objects``."""

    def __init__(
        self, run: RunDir | None = None, python_objects: Mapping[str, Any] | None = None, started: bool = False
    ) -> None:
        """``python_objects``: name -> object, for references ``python:NAME``.

        ``started``: whether this process trains ``run``, whose code ``keep_code`` has checked.
        """
        self._run, self._python_objects, self._started = run, dict(python_objects or {}), started
        self._modules: dict[str, ModuleType] = {}

    def load(self, text: str) -> Any:
        """The object of the reference ``text``; a copy if it is a module that was passed to ``core.train``.

        Raises CodeError if it does not exist or its file fails, and CodeNotAllowed if this user has not allowed it.
        """
        reference = parse_reference(text)
        if reference is None:
            raise CodeError(f"{text} is not a reference to code; use FILE.py:NAME or MODULE:NAME.")
        if reference.is_python_object:
            return self._python_object(reference)
        module = self._modules.get(reference.location) or self._load_module(reference)
        try:
            return getattr(module, reference.name)
        except AttributeError:
            callables = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
            suggestions = nearest(reference.name, callables, cutoff=0.4) or callables[:5]
            has = f"available: {', '.join(suggestions)}" if suggestions else "it defines nothing"
            raise CodeError(f"{reference.location} has no {reference.name}; {has}.") from None

    def _python_object(self, reference: Reference) -> Any:
        if reference.name not in self._python_objects:
            raise CodeError(
                f"{reference.name} is an object that was passed to core.train ({PASSED_OBJECT}:{reference.name}); call "
                "core.train with the object again, or use a file instead."
            )
        value = self._python_objects[reference.name]
        return copy.deepcopy(value) if isinstance(value, nn.Module) else value

    def _load_module(self, reference: Reference) -> ModuleType:
        location = reference.location
        if self._run is None:
            raise CodeError(f"{location} was not loaded: custom code is loaded only from the folder of a run.")
        copied_file = check_allowed(self._run, [location], self._started)[location]
        if reference.is_file:
            content, path = read_copy(self._run, copied_file), copy_path(self._run, copied_file)
            module = ModuleType(f"sdgui_custom_{copied_file.digest[:16]}")
            module.__file__ = str(path)
            sys.modules[module.__name__] = module  # dataclasses and pickle look modules up there
            with user_code(location, str(path)):
                exec(compile(content, str(path), "exec", dont_inherit=True), module.__dict__)
        else:
            content = source_of(reference) or b""
            if digest_of(content) != copied_file.digest:
                raise CodeError(
                    f"the module {location} has changed since {self._run.path} began; install the old version again, "
                    "or continue with the new one (--code changed)."
                )
            with user_code(location, location):
                module = importlib.import_module(location)
        self._modules[location] = module
        return module


NO_CODE = CustomCode()
