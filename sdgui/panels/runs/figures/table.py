"""Tables for a paper as LaTeX or Markdown: last values of runs, or means of groups with 95 % intervals."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from sdgui.panels.runs.figures.curves import LastValues, PlotData
from sdgui.store.run_table.intervals import Mean, mean_of

_DIGITS = 4  # significant digits, except for percentages
_ABOUT = "Last value of each run"
_ABOUT_MEANS = "Mean of the runs' last values ± half width of the 95 % confidence interval (Student's t)"
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "^": r"\textasciicircum{}",
    "_": r"\_", "~": r"\textasciitilde{}", "%": r"\%", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "→": r"$\rightarrow$", "±": r"$\pm$", "·": r"\textperiodcentered{}", "…": r"\ldots{}",
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A cell. ``mean``: "" if there is no value; ``half``: half width, "" for one run; ``best``: best of its column."""

    mean: str = ""
    half: str = ""
    best: bool = False


@dataclass(frozen=True)
class PaperTable:
    """A table. ``rows``: name, number of runs, cells; ``about``: what the numbers are."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, int, Sequence[Cell]]]
    about: str

    @property
    def has_means(self) -> bool:
        """Whether any row has several runs."""
        return any(count > 1 for _, count, _ in self.rows)


def paper_table(data: PlotData) -> PaperTable:
    """The table of legend entries by metrics, without entries that have no value."""
    columns = [column for plot in data.plots for column in plot.columns]
    cells = [_cells(column, list(data.entries)) for column in columns]
    rows = []
    for number, (key, name) in enumerate(data.entries.items()):
        count = max((len(column.values.get(key, ())) for column in columns), default=0)
        if count:
            rows.append((name, count, [column[number] for column in cells]))
    titles = [f"{column.title} (%)" if column.is_share else column.title for column in columns]
    return PaperTable(titles, rows, _ABOUT_MEANS if any(count > 1 for _, count, _ in rows) else _ABOUT)


def _cells(column: LastValues, keys: Sequence[str]) -> list[Cell]:
    """The cells of a column, one per key: the mean of its runs, with the interval; the best is marked."""
    scale = 100.0 if column.is_share else 1.0
    means: list[Mean | None] = []
    for key in keys:
        values = [scale * value for value in column.values.get(key, ())]
        means.append(mean_of(len(values), fmean(values), fmean(x * x for x in values)) if values else None)
    sizes = [abs(mean.mean) for mean in means if mean is not None]
    to_text = _number_format(1 if column.is_share else _decimals(max(sizes, default=0.0)))
    known = [mean.mean for mean in means if mean is not None]
    best = to_text((max if column.higher_is_better else min)(known)) if len(known) > 1 else None
    return [
        Cell()
        if mean is None
        else Cell(to_text(mean.mean), "" if math.isnan(mean.half) else to_text(mean.half), to_text(mean.mean) == best)
        for mean in means
    ]


def _decimals(largest: float) -> int | None:
    """The decimals of a column whose largest size is ``largest``; None for scientific notation."""
    digits = math.floor(math.log10(largest)) + 1 if largest else 1  # digits before the decimal point
    return max(0, _DIGITS - max(1, digits)) if -1 <= digits <= 7 else None


def _number_format(decimals: int | None) -> Callable[[float], str]:
    return f"{{:.{_DIGITS - 1}e}}".format if decimals is None else f"{{:.{decimals}f}}".format


def latex(table: PaperTable) -> str:
    """The table as a LaTeX ``tabular`` with booktabs rules."""
    counts = table.has_means
    head = ["", *(["$n$"] if counts else []), *(escape_latex(title) for title in table.columns)]
    lines = [
        f"% {table.about}. Needs \\usepackage{{booktabs}}",
        rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"\toprule",
        " & ".join(head) + r" \\",
        r"\midrule",
    ]
    for name, count, cells in table.rows:
        texts = [escape_latex(name), *([str(count)] if counts else []), *(_latex_cell(cell) for cell in cells)]
        lines.append(" & ".join(texts) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex_cell(cell: Cell) -> str:
    if not cell.mean:
        return "--"
    mean = rf"\mathbf{{{_latex_number(cell.mean)}}}" if cell.best else _latex_number(cell.mean)
    return rf"${mean} \pm {_latex_number(cell.half)}$" if cell.half else f"${mean}$"


def _latex_number(text: str) -> str:
    return re.sub(r"e([+-]\d+)", lambda exponent: rf" \times 10^{{{int(exponent[1])}}}", text)


def markdown(table: PaperTable) -> str:
    """The table as a Markdown table, followed by what the numbers are."""
    counts = table.has_means
    head = ["", *(["n"] if counts else []), *(escape_markdown(title) for title in table.columns)]
    lines = [_row(head), _row([":--", *["--:"] * (len(head) - 1)])]
    for name, count, cells in table.rows:
        texts = [_markdown_cell(cell) for cell in cells]
        lines.append(_row([escape_markdown(name), *([str(count)] if counts else []), *texts]))
    return "\n".join([*lines, "", f"{table.about}.", ""])


def _markdown_cell(cell: Cell) -> str:
    mean = f"**{cell.mean}**" if cell.best else cell.mean or "–"
    return f"{mean} ± {cell.half}" if cell.half else mean


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escape_latex(text: str) -> str:
    """``text`` on one line with TeX's special characters escaped."""
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))


def escape_markdown(text: str) -> str:
    """``text`` on one line with Markdown's special characters escaped."""
    return re.sub(r"([\\`*_\[\]<>#|~$&])", r"\\\1", " ".join(text.split()))
