"""A page on the effect of data fixes: two runs that differ only in their training data, evaluated on the same data.

Flow: worker ``before_after`` (the window's data fixes) -> **before_after** -> one self-contained HTML file: images as
data URIs, no scripts, no external resources.
"""

from __future__ import annotations

import base64
import io
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from core.checkpoint.opening import open_model
from core.data.errors import ImageError
from core.data.images import decode
from core.evaluation.evaluate import Request, compare_reports, evaluate
from core.evaluation.report import Report, format_metric
from core.metrics.outcome import Floats
from core.metrics.statistics import Difference, Interval, intervals, student_interval
from core.spec.config import differences, read_config
from core.spec.data.fixes import Fix, FixesRecord, read_record
from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.reporter import Progress
from core.spec.run.folder import RunDir

MAX_IMAGES = 200  # at most this many fixes are shown with their image
THUMBNAIL_SIDE = 160  # pixels of an image's shorter side
_MAX_MEGAPIXELS = 200
METRICS = ("image_to_text_R@1", "text_to_image_R@1", "image_to_text_R@5", "text_to_image_R@5", "image_to_text_R@10",
           "text_to_image_R@10")  # fmt: skip
_KIND_TITLES = {
    "wrong": "Mismatched caption: excluded",
    "excluded": "Excluded",
    "recaptioned": "New caption",
    "relabelled": "New label",
    "added": "Added",
}


class PageError(UserError):
    """Raised if runs cannot be compared on a page."""


@dataclass(frozen=True)
class BeforeAfter:
    """The content of the page. ``differences``: after minus before."""

    before: Report
    after: Report
    differences: Mapping[str, Difference]
    record: FixesRecord | None  # None if the training data of the second run has no record of fixes
    sources: tuple[str, str]
    other_settings: Mapping[str, tuple[str, str]]  # other settings in which the runs differ
    seeds: tuple[SeedPair, ...] = ()  # all pairs, if there are several


@dataclass(frozen=True)
class SeedPair:
    """The metrics of one seed's two runs."""

    seed: int
    before: Mapping[str, float]
    after: Mapping[str, float]


@dataclass(frozen=True)
class OverSeeds:
    """A metric over several seeds; ``change``: the mean of after minus before, with its paired t interval."""

    before: Floats  # (seeds,)
    after: Floats
    change: Interval
    mean: float


def measure(before: Sequence[str], after: Sequence[str], data: str, progress: Progress) -> BeforeAfter:
    """Evaluate the run folders ``before`` and ``after`` on the pairs ``data``, by default the test or validation data.

    Runs at the same position form a pair with the same seed; reports and images are from the first pair. Raises
    PageError if the runs have no such data, and errors like `core.evaluation.evaluate`.
    """
    if not before or len(before) != len(after):
        raise PageError(f"{len(before)} runs before and {len(after)} runs after the fixes; choose equal numbers.")
    configs = [read_config(RunDir(Path(run)).config) for run in (before[0], after[0])]
    data = data or configs[1].data.test or configs[1].data.val
    if not data:
        raise PageError(f"{after[0]} has no test or validation data; choose data for the comparison.")
    request = Request(data=data, task="retrieval")

    def evaluate_run(run: str) -> Report:
        return evaluate(open_model(run), request, progress, lambda _line: None)

    reports = [evaluate_run(before[0]), evaluate_run(after[0])]
    seeds = [SeedPair(configs[0].seed, reports[0].outcome.metrics, reports[1].outcome.metrics)]
    for first, second in zip(before[1:], after[1:], strict=True):
        seed = read_config(RunDir(Path(first)).config).seed
        seeds.append(SeedPair(seed, evaluate_run(first).outcome.metrics, evaluate_run(second).outcome.metrics))
    other_settings = {
        name: (str(value_before), str(value_after))
        for name, (value_before, value_after) in differences(configs[0], configs[1]).items()
        if name not in ("data.train", "name")
    }
    sources = (configs[0].data.train, configs[1].data.train)
    return BeforeAfter(
        before=reports[0],
        after=reports[1],
        differences=compare_reports(reports[1], reports[0]),
        record=read_record(Path(sources[1])),
        sources=sources,
        other_settings=other_settings,
        seeds=tuple(seeds) if len(seeds) > 1 else (),
    )


def over_seeds(comparison: BeforeAfter) -> dict[str, OverSeeds]:
    """Each metric that all pairs have; empty for a single pair."""
    answer = {}
    for name in METRICS:
        if len(comparison.seeds) > 1 and all(name in pair.before and name in pair.after for pair in comparison.seeds):
            before, after = (
                np.array([getattr(pair, side)[name] for pair in comparison.seeds]) for side in ("before", "after")
            )
            answer[name] = OverSeeds(before, after, student_interval(after - before), float((after - before).mean()))
    return answer


def save_page(comparison: BeforeAfter, target: Path, title: str, progress: Progress) -> None:
    """Write the page to ``target``. Raises UserError if writing fails."""
    fixes = comparison.record.fixes[:MAX_IMAGES] if comparison.record is not None else ()
    cards = []
    for position, fix in enumerate(fixes):
        progress("reading the images", position, len(fixes))
        cards.append(_card(fix))
    with writing(target):
        write_whole(target, page(comparison, cards, title).encode("utf-8", "replace"))


def page(comparison: BeforeAfter, cards: Sequence[str], title: str) -> str:
    """The page as HTML; all text from the data is escaped."""
    parts = [
        f"<h1>{escape(title)}</h1>",
        _summary(comparison),
        _metrics_table(comparison),
        _seeds_table(comparison),
        _settings_warning(comparison),
        _fixes(comparison, cards),
    ]
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>"
    )
    return head + "\n".join(part for part in parts if part) + "</main></body></html>\n"


def _summary(comparison: BeforeAfter) -> str:
    record = comparison.record
    lines = [
        f"<p>Trained twice with the same settings and seed: on <code>{escape(comparison.sources[0])}</code> (before) "
        f"and on <code>{escape(comparison.sources[1])}</code> (after). Both were evaluated on "
        f"<code>{escape(comparison.after.subject.dataset)}</code>, {comparison.after.outcome.samples} captions.</p>"
    ]
    if record is not None:
        kinds = Counter(fix.kind for fix in record.fixes)
        counts = " · ".join(f"{number} {kind}" for kind, number in kinds.items())
        day = time.strftime("%Y-%m-%d", time.gmtime(record.made))
        lines.append(f"<p>Fixes of {day}: {escape(counts)}. {record.images} images remain.</p>")
    return "".join(lines)


def _metrics_table(comparison: BeforeAfter) -> str:
    reports = [(report.outcome.metrics, intervals(report.outcome.per_query))
               for report in (comparison.before, comparison.after)]  # fmt: skip
    rows = []
    for name in METRICS:
        if (change := comparison.differences.get(name)) is not None:
            before, after = ((metrics[name], ends[name].low, ends[name].high) for metrics, ends in reports)
            rows.append(_row(name, before, after, change.value, change.interval))
    return (
        f"<h2>Retrieval</h2>{_table(rows)}"
        '<p class="note">95 % intervals over the evaluated images; paired for the difference. They do not include the '
        "variation between seeds.</p>"
    )


def _seeds_table(comparison: BeforeAfter) -> str:
    rows = []
    for name, metric in over_seeds(comparison).items():
        before, after = (
            (float(values.mean()), float(values.min()), float(values.max())) for values in (metric.before, metric.after)
        )
        rows.append(_row(name, before, after, metric.mean, metric.change))
    if not rows:
        return ""
    seeds = ", ".join(str(pair.seed) for pair in comparison.seeds)
    return (
        f"<h2>Over {len(comparison.seeds)} seeds</h2>{_table(rows)}"
        f'<p class="note">Trained with the seeds {seeds}: means with minimum and maximum. The 95 % interval of the '
        "difference is from a paired t test. The table above shows the first seed.</p>"
    )


_Ranged = tuple[float, float, float]  # a value, and the ends of its range


def _with_range(value: str, low: str, high: str, is_single: bool) -> str:
    """A value with its range, which a single query does not have."""
    return f"{value} <small>{'no interval' if is_single else f'{low} to {high}'}</small>"


def _row(name: str, before: _Ranged, after: _Ranged, change: float, interval: Interval) -> str:
    """A metric's row: values with their ranges, and after minus before in points."""
    cells = [escape(name.replace("_", " "))]
    for values in (before, after):
        value, low, high = (format_metric(name, number) for number in values)
        cells.append(_with_range(value, low, high, math.isnan(values[1])))
    difference, low, high = (f"{100 * number:+.1f}" for number in (change, interval.low, interval.high))
    cells.append(_with_range(difference, low, high, math.isnan(interval.low)))
    verdict = "better" if interval.low > 0 else "worse" if interval.high < 0 else "open"
    return f'<tr class="{verdict}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _table(rows: Sequence[str]) -> str:
    head = "<th>metric</th><th>before</th><th>after</th><th>difference, points</th>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _settings_warning(comparison: BeforeAfter) -> str:
    if not comparison.other_settings:
        return ""
    items = "".join(
        f"<li><code>{escape(name)}</code>: {escape(value_before)} before, {escape(value_after)} after</li>"
        for name, (value_before, value_after) in comparison.other_settings.items()
    )
    return f'<div class="warning"><p>The runs also differ in these settings:</p><ul>{items}</ul></div>'


def _fixes(comparison: BeforeAfter, cards: Sequence[str]) -> str:
    if comparison.record is None:
        return "<p>The fixed data has no record of its fixes.</p>"
    total = len(comparison.record.fixes)
    note = f"<p>The first {len(cards)} of {total} are shown.</p>" if total > len(cards) else ""
    return f'<h2>What was fixed</h2>{note}<div class="cards">{"".join(cards)}</div>'


def _card(fix: Fix) -> str:
    lines = [f"<strong>{_KIND_TITLES[fix.kind]}</strong>"]
    if fix.kind == "relabelled":
        lines.append(f"{escape(fix.label)}: <ins>{escape(fix.value)}</ins>")
    else:
        lines += [f"<del>{escape(fix.caption)}</del>"] if fix.caption else []
        lines += [f"<ins>{escape(fix.value)}</ins>"] if fix.value else []
    origin = [fix.panel, Path(fix.run).name if fix.run else "", Path(fix.path).name]
    lines.append(f"<small>{escape(' · '.join(part for part in origin if part))}</small>")
    return f"<figure>{_image(fix.path)}<figcaption>{'<br>'.join(lines)}</figcaption></figure>"


def _image(path: str) -> str:
    try:
        image = Image.fromarray(decode(path, THUMBNAIL_SIDE, _MAX_MEGAPIXELS, fast=True))
    except ImageError as error:
        return f'<div class="missing">{escape(str(error))}</div>'
    image.thumbnail((2 * THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    content = io.BytesIO()
    image.save(content, "WEBP", quality=80)
    return f'<img alt="" src="data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}">'


_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8882}
body{font:16px/1.5 system-ui,sans-serif;margin:0}main{max-width:72rem;margin:auto;padding:2rem}
h1{font-size:1.75rem}h2{font-size:1.2rem;margin-top:2rem}code{overflow-wrap:anywhere}
table{border-collapse:collapse}th,td{text-align:right;padding:.4rem .8rem;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left}td{font-variant-numeric:tabular-nums}small,.note{opacity:.7}
.better td:last-child::before{content:"\\25B2 "}.worse td:last-child::before{content:"\\25BC "}
.warning{border-left:4px solid #c70;padding-left:1rem}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(14rem,1fr));gap:1rem}
figure{margin:0;border:1px solid var(--line);border-radius:8px;overflow:hidden}
figure img{display:block;width:100%;height:10rem;object-fit:contain;background:var(--soft)}
figcaption{padding:.6rem .8rem;overflow-wrap:anywhere}del{opacity:.6}ins{text-decoration:none;font-weight:600}
.missing{height:10rem;padding:.8rem;background:var(--soft);overflow:auto}
"""
