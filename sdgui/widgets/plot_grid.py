"""Several small plots, one for each metric, of several runs. (Signatures; being filled in.)"""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike
from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from sdgui.widgets.live_plot import XMode


class PlotGrid(QWidget):
    """Runs over metrics. Metric names are those of the events (``train/loss``, ``val/student/image_to_text_R@1``).

    One toolbar (smoothing, log, step or time, search) and one legend of runs for all; x axes are linked; student and
    teacher of the same metric share a plot (teacher dashed); sections by prefix; a plot can be maximised.
    """

    run_hovered = Signal(str)
    run_visibility_changed = Signal(str, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)

    def set_metrics(self, names: Sequence[str]) -> None:
        """Which metrics have a plot; also added on their own when points of a new one arrive."""
        raise NotImplementedError

    def set_run(self, key: str, name: str, color: int = 0) -> None:
        """Add a run or rename it; ``color`` is its palette index."""
        raise NotImplementedError

    def set_points(self, key: str, metric: str, x: ArrayLike, y: ArrayLike, times: ArrayLike | None = None) -> None:
        """Replace a run's points of one metric; KeyError when ``set_run`` did not name the run."""
        raise NotImplementedError

    def append(self, key: str, metric: str, x: ArrayLike, y: ArrayLike, times: ArrayLike | None = None) -> None:
        """Add points (scalars or arrays) to a run's metric."""
        raise NotImplementedError

    def remove_run(self, key: str) -> None: ...
    def clear(self) -> None: ...
    def set_run_visible(self, key: str, visible: bool) -> None: ...
    def maximize(self, metric: str | None) -> None:
        """Show one metric's plot alone; None goes back to the grid."""
