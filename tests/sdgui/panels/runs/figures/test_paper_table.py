"""Tables for a paper: their statistics, their structure as LaTeX and Markdown, and names with special characters."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from sdgui.panels.runs.figures.curves import LastValues, MetricPlot, PlotData
from sdgui.panels.runs.figures.table import escape_latex, escape_markdown, latex, markdown, paper_table

ODD = r"run_a & 50% #1 $x$ {b} \~^ | *<b>* [c](d) `e`"
_UNESCAPED = re.compile(r"(?<!\\)[&%#$_{}~^]")


@pytest.fixture
def data() -> PlotData:
    recall = LastValues("R@1 (student)", True, True, {"a": [0.40, 0.42, 0.44], "b": [0.5], "c": [0.5]})
    loss = LastValues("Loss_x", False, False, {"a": [2.0, 3.0], "b": [2.7]})
    tiny = LastValues("Rate", False, False, {"a": [1e-5], "b": [2e-5]})
    plots = [MetricPlot("p", "p", True, (), (recall, loss, tiny), None, None, True)]
    return PlotData(plots, {"a": ODD, "b": "lone", "c": "other", "d": "without values"}, "step", False)


def cells(text: str) -> list[list[str]]:
    """Rows of the cells of a Markdown table, as they are shown."""
    tokens: list[Token] = MarkdownIt("commonmark").enable("table").parse(text)
    rows: list[list[str]] = []
    for before, token in pairwise(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and before.type in ("th_open", "td_open"):
            rows[-1].append("".join(child.content for child in token.children or ()))
    return rows


def test_means_have_half_widths_and_the_best_of_a_column_is_bold(data: PlotData) -> None:
    table = paper_table(data)
    assert [(name, count) for name, count, _ in table.rows] == [(ODD, 3), ("lone", 1), ("other", 1)]
    shown = [[(cell.mean, cell.half, cell.best) for cell in row] for _, _, row in table.rows]
    assert shown[0] == [("42.0", "5.0", False), ("2.500", "6.353", True), ("1.000e-05", "", True)]  # t = 4.303, 12.71
    assert [row[0] for row in shown[1:]] == [("50.0", "", True), ("50.0", "", True)], "equal as shown, both best"
    assert shown[2][1:] == [("", "", False)] * 2, "it reported none"


def test_the_latex_table_has_equal_rows_and_escapes_names(data: PlotData) -> None:
    text = latex(paper_table(data))
    columns = re.findall(r"\\begin\{tabular\}\{(\w+)\}", text)
    assert columns == ["lrrrr"]
    body = text.partition("\\toprule\n")[2].partition("\\bottomrule")[0].replace("\\midrule\n", "")
    rows = body.splitlines()
    assert len(rows) == 4
    for row in rows:
        assert row.endswith(r" \\")
        assert len(re.findall(r"(?<!\\)&", row)) == len(columns[0]) - 1
    assert rows[0].split(" & ")[1:4] == ["$n$", r"R@1 (student) (\%)", r"Loss\_x"]
    assert rows[1].endswith(r"3 & $42.0 \pm 5.0$ & $\mathbf{2.500} \pm 6.353$ & $\mathbf{1.000 \times 10^{-5}}$ \\")
    assert rows[3].endswith(r" & 1 & $\mathbf{50.0}$ & -- & -- \\")
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


@given(st.text(st.sampled_from("ab é\\{}$&#^_~%<>|→±·…\"'`-\n\t")))
def test_no_name_can_inject_latex(name: str) -> None:
    commands = (
        r"\\(textbackslash|textasciicircum|textasciitilde|textless|textgreater|textbar|textperiodcentered|ldots)\{\}"
    )
    plain = re.sub(r"\$\\(rightarrow|pm)\$", "", re.sub(commands, "", escape_latex(name)))
    assert not _UNESCAPED.search(plain)
    assert not re.search(r"\\[^{}$&#_%]", plain)
    assert "\n" not in plain


def test_the_markdown_table_shows_names_literally(data: PlotData) -> None:
    rows = cells(markdown(paper_table(data)))
    assert rows[0] == ["", "n", "R@1 (student) (%)", "Loss_x", "Rate"]
    assert rows[1] == [ODD, "3", "42.0 ± 5.0", "2.500 ± 6.353", "1.000e-05"]
    assert rows[3] == ["other", "1", "50.0", "–", "–"]
    assert "**2.500** ± 6.353" in markdown(paper_table(data))


@given(st.text(st.sampled_from("ab \\`*_[]()<>#|~$&;!-+.\n"), max_size=30))
def test_every_name_is_one_cell_of_a_markdown_table(name: str) -> None:
    rows = cells(f"| a | b |\n| :-- | --: |\n| {escape_markdown(name)} | 1 |\n")
    assert rows[1] == [" ".join(name.split()), "1"]
