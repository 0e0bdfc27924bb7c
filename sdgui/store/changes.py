"""Ids of changed records of the store, so that panels reload only these.

Flow: code that writes to the store emits ``Changes``; the main window collects them; the tree and the panels refresh.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Changes:
    """Ids of records that were added, edited, deleted or restored."""

    experiments: frozenset[int] = frozenset()
    runs: frozenset[int] = frozenset()
    studies: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.experiments or self.runs or self.studies)

    @classmethod
    def of(cls, *, experiment: int | None = None, run: int | None = None) -> Changes:
        """Changes of one experiment, one run, or both."""
        return cls(frozenset(() if experiment is None else (experiment,)), frozenset(() if run is None else (run,)))

    def __or__(self, other: Changes) -> Changes:
        return Changes(self.experiments | other.experiments, self.runs | other.runs, self.studies | other.studies)
