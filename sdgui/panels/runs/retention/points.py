"""Points in the plane of gain and retention: a run's validations, and its path of interpolated weights. No Qt.

Flow: `RunHistory` -> ``validation_points``; run folder -> ``read_run`` -> ``path_point``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.spec.config import RunConfig, read_config
from core.spec.errors import UserError
from core.spec.reading import UnreadableError, excerpt
from core.spec.run.weight_path import DEFAULT_KEEP, PathPoint, WeightPath, read_path
from sdgui.runs.history import RunHistory
from sdgui.runs.models import run_facts
from sdgui.store.records import Run
from sdgui.widgets.formats import count, percent

RETAINED_PREFIX = "retain/"  # prefix of the metrics on retained data
_SCORE = "/student/mean_recall"
_GAINED = f"val{_SCORE}"
_MAX_NAME = 40  # displayed characters of a data set's name


@dataclass(frozen=True)
class PlanePoint:
    """Weights in the plane. ``shares``: of the initial model's mean recall, by retained data set."""

    title: str
    gained: float
    shares: Mapping[str, float]

    @property
    def retained(self) -> float:
        """The smallest of the shares; 1 if there are none."""
        return min(self.shares.values(), default=1.0)

    @property
    def text(self) -> str:
        """A text such as ``step 40: gained 45.1 %, retained 96.2 % of general``."""
        shares = ", ".join(f"{percent(share)} of {excerpt(name, _MAX_NAME)}" for name, share in self.shares.items())
        return f"{self.title}: gained {percent(self.gained)}" + (f", retained {shares}" if shares else "")


@dataclass(frozen=True)
class RunFiles:
    """The files of a run that the plane needs.

    ``keep``: the share to retain; ``best``: the step of the best checkpoint; ``problem``: why the path cannot be read;
    ``refusal``: why the path cannot be evaluated in this window.
    """

    keep: float = DEFAULT_KEEP
    path: WeightPath | None = None
    best: int | None = None
    problem: str = ""
    refusal: str = ""


def validation_points(history: RunHistory | None) -> tuple[PlanePoint, ...]:
    """The validations in order of their steps; () if the run has no validation at step 0 on retained data."""
    rows = {row.step: row.values for row in history.evaluated if _GAINED in row.values} if history is not None else {}
    initial = _retained_scores(rows.get(0, {}))
    points = []
    for step in sorted(rows) if initial else ():
        scores = _retained_scores(rows[step])
        shares = {name: scores[name] / before for name, before in initial.items() if name in scores and before > 0}
        points.append(PlanePoint(f"step {count(step)}", rows[step][_GAINED], shares))
    return tuple(points)


def _retained_scores(values: Mapping[str, float]) -> dict[str, float]:
    """Mean recall by retained data set."""
    return {
        name.removeprefix(RETAINED_PREFIX).removesuffix(_SCORE): value
        for name, value in values.items()
        if name.startswith(RETAINED_PREFIX) and name.endswith(_SCORE)
    }


def path_point(path: WeightPath, point: PathPoint) -> PlanePoint:
    """A point of ``path`` in the plane."""
    return PlanePoint(f"alpha {point.alpha:g}", point.gained, point.shares(path.initial))


def chosen_text(path: WeightPath, best: int | None) -> str:
    """A sentence about the point that the path's evaluation has chosen. ``best``: the step of the best checkpoint."""
    point = path_point(path, path.chosen)
    outdated = "" if best in (None, path.step) else f"path of step {count(path.step)}, not of the best, {count(best)}: "
    return (
        f"{outdated}{point.title} gains most while it retains {100 * path.keep:g} %: "
        f"gained {percent(point.gained)}, retained {percent(point.retained)}"
    )


def read_run(run: Run) -> RunFiles:
    """Read the files of a run; called in a thread."""
    path, problem = None, ""
    try:
        path = read_path(run.folder)
    except (UnreadableError, OSError) as error:
        problem = str(error)
    try:
        config = read_config(run.dir.config)
    except UserError as error:
        return RunFiles(path=path, problem=problem, refusal=_place_refusal(run) or str(error))
    refusal = _place_refusal(run) or _config_refusal(config)
    best = run_facts(run.dir).best
    if not refusal and best is None:
        refusal = "This run has not saved a checkpoint yet."
    return RunFiles(config.checkpoint.keep_retained or DEFAULT_KEEP, path, best, problem, refusal)


def _place_refusal(run: Run) -> str:
    if not run.is_local:
        return f"The folder of this run is on {run.owner_host}."
    if run.machine:
        return f"This run is on {run.machine}; evaluate its path there with sdgui-core interpolate."
    return ""


def _config_refusal(config: RunConfig) -> str:
    if not config.towers.pretrained:
        return "This run was trained from scratch, so there are no initial weights to interpolate with."
    if not config.data.val:
        return "This run has no validation data (data.val), which measure the gain."
    if not config.data.retain:
        return "This run has no retained data (data.retain)."
    return ""
