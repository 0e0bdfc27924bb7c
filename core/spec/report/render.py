"""Renders a report as a self-contained HTML file, as Markdown, or as LaTeX (article, with pgfplots)."""

from __future__ import annotations

import html
import math
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence

from core.spec.report.content import Curve, Report, ReportedRun
from core.spec.report.logged import LoggedImage, LoggedSample
from core.spec.run.metric_names import is_share

COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#e45756", "#72b7b2", "#9d755d", "#bab0ac")
_IMAGES_PER_ROW = 3
_WIDTH, _HEIGHT, _LEFT, _TOP = 640, 260, 64, 28
_STYLE = """body{font:15px/1.5 sans-serif;margin:2em auto;max-width:60em;padding:0 1em} table{border-collapse:collapse}
td,th{border:1px solid #999;padding:2px 8px;text-align:left;vertical-align:top} img{max-width:100%}
td img{max-height:16em} pre{white-space:pre-wrap}"""
# Forbids scripts and external resources, in case some text is interpreted as markup.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\^{}", "~": r"\~{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "[": "{[}", "]": "{]}", "*": "{*}",  # unescaped, they would be options of a preceding \\
}  # fmt: skip
_LAST_LATIN = 0x17F  # the last character of Latin Extended-A; every LaTeX shows the characters up to it
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#!])")


def tables(report: Report) -> dict[str, list[list[str]]]:
    """Heading -> rows of a table; the first row is the header."""
    runs = [["Run", "State", "Step", "Best", "Parent"], *map(_row, report.runs)]
    by_heading = {"Runs": runs}
    if report.settings:
        header = ["Setting", *(run.name for run in report.runs)]
        rows = [[name, *map(_text, row)] for name, row in report.settings.items()]
        by_heading["Settings that differ"] = [header, *rows]
    samples = [[run.name, *sample] for run in report.runs for sample in run.samples]
    if samples:
        by_heading["Samples"] = [["Run", "Input", "Student's answer"], *samples]
    return by_heading


def _row(run: ReportedRun) -> list[str]:
    best = run.best()
    shown = "" if best is None else f"{value_text(best[0], best[1])} ({best[0]}, step {best[2]})"
    step = f"{run.step}/{run.total_steps}" if run.total_steps else str(run.step)
    return [run.name, run.state, step, shown, run.parent]


def _text(value: object) -> str:
    return "" if value is None else str(value)[:300]


def value_text(metric: str, value: float) -> str:
    """A value as text; shares are shown in per cent."""
    return f"{100 * value:.1f} %" if is_share(metric) else f"{value:.4g}"


def _logged_samples(report: Report) -> Iterator[tuple[str, LoggedSample]]:
    """The logged samples of all runs, each with its heading."""
    for run in report.runs:
        for sample in run.logged.values():
            yield f"{run.name}: {sample.name}, step {sample.step}", sample


def data_uri(image: LoggedImage) -> str:
    return f"data:{image.media_type};base64,{b64encode(image.data).decode()}"


def to_html(report: Report, image_url: Callable[[LoggedImage], str] = data_uri) -> str:
    """The report as one HTML file without scripts, links to files or remote images.

    ``image_url``: the URL of a logged image; by default the file contains the images.
    """
    parts = [f"<h1>{html.escape(report.title)}</h1>", markdown_html(report.note)]
    for heading, rows in tables(report).items():
        parts += [f"<h2>{heading}</h2>", _html_table(rows)]
        if heading == "Runs":
            parts += ["<h2>Results</h2>", markdown_html(report.results)] if report.results else []
            parts += ["<h2>Curves</h2>"] if report.plots() else []
            for metric, curves in report.plots().items():
                parts.append(f'<p><img alt="{html.escape(metric)}" src="{_plot_uri(metric, curves)}"></p>')
    parts += ["<h2>Logged samples</h2>"] if any(_logged_samples(report)) else []
    for heading, sample in _logged_samples(report):
        parts += [f"<h3>{html.escape(heading)}</h3>", *_html_sample(sample, image_url)]
    folders = "".join(f"<li>{html.escape(run.name)}: {html.escape(str(run.folder))}</li>" for run in report.runs)
    body = "\n".join([*parts, "<h2>Run folders</h2>", f"<ul>{folders}</ul>"])
    return (
        f'<!DOCTYPE html>\n<html><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        f'content="{_POLICY}"><title>{html.escape(report.title)}</title><style>{_STYLE}</style></head>\n'
        f"<body>\n{body}\n</body></html>\n"
    )


def markdown_html(text: str) -> str:
    """Convert untrusted Markdown to HTML. HTML in the Markdown is shown as text; images are left out."""
    from markdown_it import MarkdownIt  # noqa: PLC0415  (only needed for a report)

    return str(MarkdownIt("commonmark", {"html": False}).enable("table").disable("image").render(text))


def _html_sample(sample: LoggedSample, image_url: Callable[[LoggedImage], str]) -> Iterator[str]:
    if sample.table:
        yield _html_table(sample.table)
    if sample.text:
        yield f"<pre>{html.escape(sample.text)}</pre>"
    cells = [_html_image(image, image_url) for image in sample.images]
    rows = [cells[start : start + _IMAGES_PER_ROW] for start in range(0, len(cells), _IMAGES_PER_ROW)]
    if rows:
        yield "\n".join(["<table>", *(f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in rows), "</table>"])


def _html_image(image: LoggedImage, image_url: Callable[[LoggedImage], str]) -> str:
    shown = html.escape(image.text)
    return f'<img alt="{shown}" src="{html.escape(image_url(image))}"><br>{shown}' if image.data else shown


def _html_table(rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"

    return "\n".join(["<table>", line(rows[0], "th"), *(line(row, "td") for row in rows[1:]), "</table>"])


def _plot_uri(metric: str, curves: Mapping[str, Curve]) -> str:
    return f"data:image/svg+xml;base64,{b64encode(to_bytes(svg(metric, curves))).decode()}"


def svg(metric: str, curves: Mapping[str, Curve]) -> str:
    """An SVG plot of a metric's curves over steps, with a legend."""
    points = [point for curve in curves.values() for point in curve]
    lowest, highest = min((y for _, y in points), default=0.0), max((y for _, y in points), default=1.0)
    last = max((x for x, _ in points), default=1) or 1
    span = (highest - lowest) or 1.0
    right, bottom = _WIDTH - 12, _HEIGHT - 28

    def place(x: float, y: float) -> str:
        return f"{_LEFT + (right - _LEFT) * x / last:.1f},{bottom - (bottom - _TOP) * (y - lowest) / span:.1f}"

    def label(x: float, y: float, text: str, anchor: str = "start", colour: str = "black") -> str:
        shown = html.escape(text)
        return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}">{shown}</text>'

    legend_height = 16 * len(curves)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT + legend_height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT + legend_height}" fill="white"/>',
        label(_LEFT, 16, metric),
        f'<path d="M{_LEFT},{_TOP} V{bottom} H{right}" fill="none" stroke="#888"/>',
        label(_LEFT - 4, _TOP + 8, value_text(metric, highest), "end"),
        label(_LEFT - 4, bottom, value_text(metric, lowest), "end"),
        label(right, bottom + 16, f"step {last}", "end"),
    ]
    for number, (run, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        corners, width = (curve, 1.6) if len(curve) > 1 else ([*curve, *curve], 6.0)  # a single point becomes a dot
        line = " ".join(place(x, y) for x, y in corners)
        stroke = f'stroke="{colour}" stroke-width="{width}" stroke-linecap="round"'
        parts.append(f'<polyline points="{line}" fill="none" {stroke}/>')
        parts.append(label(_LEFT, _HEIGHT + 16 * number + 4, run, colour=colour))
    return "\n".join([*parts, "</svg>"])


def to_markdown(report: Report) -> str:
    """The report as Markdown, with plots as data URIs. HTML and images in note and results are shown as text."""
    foreign = [text.replace("<", "&lt;").replace("![", r"!\[") for text in (report.note, report.results)]
    parts = [f"# {_markdown(report.title)}", *foreign]
    for heading, rows in tables(report).items():
        parts += [f"## {heading}", _markdown_table(rows)]
    for metric, curves in report.plots().items():
        parts.append(f"![{_markdown(metric)}]({_plot_uri(metric, curves)})")
    parts += ["## Logged samples"] if any(_logged_samples(report)) else []
    for heading, sample in _logged_samples(report):
        parts += [f"### {_markdown(heading)}", _markdown_table(sample.table) if sample.table else ""]
        parts.append("\n".join(f"    {line}" for line in sample.text.splitlines()))  # code, in which nothing is markup
        for image in sample.images:
            shown = _markdown(image.text)
            parts.append(f"![{shown}]({data_uri(image)})\n{shown}" if image.data else shown)
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_table(rows: Sequence[Sequence[str]]) -> str:
    header, *others = [[_markdown(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *others])


def _markdown(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def to_latex(report: Report) -> str:
    """The report as a LaTeX article; pgfplots draws the plots. Logged images are named, not included."""
    parts = [
        r"\documentclass{article}", r"\usepackage[margin=2cm]{geometry}", r"\usepackage{longtable,pgfplots}",
        r"\pgfplotsset{compat=1.16}", r"\begin{document}", rf"\section*{{{_tex(report.title)}}}",
        *(_tex(line) for line in report.note.splitlines()),
    ]  # fmt: skip
    for heading, rows in tables(report).items():
        parts += [rf"\subsection*{{{heading}}}", *_tex_table(rows)]
    for metric, curves in report.plots().items():
        options = rf"width=\linewidth,height=7cm,title={{{_tex(metric)}}},xlabel=step,legend pos=outer north east"
        parts += [r"\begin{tikzpicture}", rf"\begin{{axis}}[{options}]"]
        for run, curve in curves.items():
            points = " ".join(f"({x},{y:.6g})" for x, y in curve if math.isfinite(y))
            style = "no marks" if len(curve) > 1 else "only marks"
            parts += [rf"\addplot+[{style}] coordinates {{{points}}};", rf"\addlegendentry{{{_tex(run)}}}"]
        parts += [r"\end{axis}", r"\end{tikzpicture}", ""]
    parts += [r"\subsection*{Logged samples}"] if any(_logged_samples(report)) else []
    for heading, sample in _logged_samples(report):
        parts += [rf"\subsubsection*{{{_tex(heading)}}}", *(_tex_table(sample.table) if sample.table else [])]
        lines = [*sample.text.splitlines(), *(f"{image.file}: {image.caption}" for image in sample.images)]
        parts += [f"{_tex(line)}\n" for line in lines]
    text = "\n".join([*parts, r"\end{document}", ""])
    return text.replace(r"\begin{document}", _unicode_fallback(text) + r"\begin{document}", 1)


def _tex_table(rows: Sequence[Sequence[str]]) -> list[str]:
    columns = rf"p{{{0.9 / len(rows[0]):.2f}\linewidth}}" * len(rows[0])
    lines = [" & ".join(map(_tex, row)) + r" \\" + (r" \hline" if row is rows[0] else "") for row in rows]
    return [rf"\begin{{longtable}}{{{columns}}}", *lines, r"\end{longtable}"]


def _unicode_fallback(text: str) -> str:
    """Lets pdfLaTeX show a question mark where it has no character, which would be an error; LuaLaTeX has them all."""
    characters = sorted({character for character in text if ord(character) > _LAST_LATIN})
    lines = [rf"\DeclareUnicodeCharacter{{{ord(character):04X}}}{{?}}" for character in characters]
    return "\n".join([r"\usepackage{iftex}", r"\ifPDFTeX", *lines, r"\fi", ""]) if lines else ""


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character if character.isprintable() else " ") for character in text)


def to_bytes(text: str) -> bytes:
    """``text`` as UTF-8; a lone surrogate, of an undecodable file name or a foreign setting, becomes "?"."""
    return text.encode("utf-8", "replace")


FORMATS = {".html": to_html, ".md": to_markdown, ".tex": to_latex}
