"""The Classify panel's desk in the worker: a model on labelled pictures, measured, looked at, tried and applied.

Flow: panel -> worker -> ``desk`` -> ``opened`` (model and data as features, cached) -> evaluators -> ``results``
(plain data) -> panel; ``trying`` takes single pictures, ``applying`` whole folders.
"""

from __future__ import annotations

from core.classify.desk import Classify

__all__ = ["Classify"]
