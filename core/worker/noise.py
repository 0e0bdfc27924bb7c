"""The Noise panel's session in the worker: pairs ranked, and a histogram of belief."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.data.derived.cleaned import save_without
from core.evaluation.noise import Ranking, rank_pairs
from core.spec.errors import UserError
from core.spec.reporter import Progress
from core.spec.run.folder import RunDir

BINS = 1000  # into which the range of beliefs is parted


class NoiseDesk:
    """The worker's verbs for the Noise panel: rank the pairs of a source, save it without those excluded."""

    def __init__(self) -> None:
        self._found: Ranking | None = None  # what was ranked last

    def open(
        self,
        run: str,
        progress: Progress,
        data: str = "",
        checkpoint: str = "last",
        most: int = 2000,
        weights: str = "",
    ) -> dict[str, Any]:
        """The summary, the ``most`` least believed pairs, and how all are spread.

        ``list``: path, caption, belief, right, rank, row, shuffled of each; ``bins``: how many pairs of every
        thousandth of belief; ``shuffled_bins``: the shuffled among them, None where the data do not say.
        """
        found = self._found = rank_pairs(RunDir(Path(run)), data, progress, checkpoint, weights)
        pairs = [vars(pair) for pair in found.pairs[:most]]
        bins, shuffled = [0] * BINS, [0] * BINS
        for pair in found.pairs:
            bins[bin_of(pair.belief)] += 1
            shuffled[bin_of(pair.belief)] += bool(pair.shuffled)
        known = found.shuffled is not None
        spread = {"bins": bins, "shuffled_bins": shuffled if known else None}
        return {**found.summary(), "listed": len(pairs), "list": pairs, **spread}

    def save(
        self,
        data: str,
        excluded: Sequence[str],
        to: str,
        progress: Progress,
        pairs: Sequence[Sequence[str]] = (),
        below: int = 0,
        kept: Sequence[Sequence[str]] = (),
        replace: bool = False,
    ) -> dict[str, Any]:
        """Write ``data`` without the pictures ``excluded`` (paths) as the new manifest ``to``.

        ``pairs`` ([path, caption]) are left out too, their pictures' other captions stay; ``below``: and all that the
        last ranking believes less than so many thousandths, but for those ``kept``. Nothing is overwritten unless
        ``replace``, the data themselves never. A manifest's pictures lie below its folder, so ``to`` must lie in a
        folder above them. Raises UserError when it does not, when the file is there already, or cannot be written.
        """
        progress("reading the data", 0, 0)
        left_out = {(path, caption) for path, caption in pairs}
        if below:
            if self._found is None or Path(self._found.data).resolve() != Path(data).resolve():
                raise UserError(f"{data} is not ranked any more; rank its pairs again, then save.")
            spared = {(path, caption) for path, caption in kept}
            doubted = {(pair.path, pair.caption) for pair in self._found.pairs if bin_of(pair.belief) < below}
            left_out |= doubted - spared
        return save_without(data, excluded, Path(to), left_out, replace)


def bin_of(belief: float) -> int:
    """The thousandth that a belief lies in."""
    return min(BINS - 1, max(0, int(belief * BINS)))
