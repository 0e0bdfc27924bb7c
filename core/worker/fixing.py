"""The session for data fixes in a worker: the requests ``fixes_save`` and ``before_after``.

Flow: the window's basket -> worker -> **session** -> a fixed copy of the data; a page that compares two runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from core.data.derived.fixed import save_fixed
from core.evaluation.before_after import METRICS, measure, over_seeds, save_page
from core.spec.data.fixes import Fix, record_path
from core.spec.errors import UserError
from core.spec.reading import validate_as
from core.spec.reporter import Progress
from core.worker.session import Session, Verb

_FIXES = TypeAdapter(tuple[Fix, ...])


class FixingSession(Session):
    """Applies fixes to data, and reports their effect; stateless."""

    @property
    def verbs(self) -> Mapping[str, Verb]:
        return {"fixes_save": self.save, "before_after": self.before_after}

    def save(
        self, data: str, fixes: Sequence[Mapping[str, Any]], to: str, progress: Progress, replace: bool = False
    ) -> dict[str, Any]:
        """Write ``data`` with ``fixes`` as the table ``to``. The answer has path, record, images and captions."""
        progress("reading the data", 0, 0)
        fix_list = validate_as(_FIXES, list(fixes), "the fixes", error=UserError)
        record = save_fixed(data, fix_list, Path(to), replace)
        return {
            "path": to,
            "record": str(record_path(Path(to))),
            "images": record.images,
            "captions": record.captions,
        }

    def before_after(
        self,
        before: Sequence[str],
        after: Sequence[str],
        to: str,
        progress: Progress,
        data: str = "",
        title: str = "Before and after",
    ) -> dict[str, Any]:
        """Compare run folders on ``data``, one pair per seed, and write the page ``to``.

        The answer has its path and the differences with intervals: over seeds, or over images for a single pair.
        """
        comparison = measure(before, after, data, progress)
        save_page(comparison, Path(to), title, progress)
        changes = {name: comparison.differences[name] for name in METRICS if name in comparison.differences}
        single_pair = {
            name: [difference.value, difference.interval.low, difference.interval.high]
            for name, difference in changes.items()
        }
        over_pairs = {
            name: [difference.mean, difference.change.low, difference.change.high]
            for name, difference in over_seeds(comparison).items()
        }
        return {"path": to, "differences": single_pair | over_pairs}
