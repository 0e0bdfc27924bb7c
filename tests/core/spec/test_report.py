"""Reports of runs: results, escaped foreign text, and no reference to other files."""

from __future__ import annotations

import html
import json
import os
import re
from base64 import b64decode, b64encode
from contextlib import closing
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from core.__main__ import main
from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.report.content import Report, ReportedRun, collect
from core.spec.report.logged import MAX_IMAGE_BYTES, MAX_TOTAL_BYTES
from core.spec.report.render import svg, to_html, to_latex, to_markdown
from core.spec.run.events import Evaluated, EventWriter, Metrics, RunFinished, RunStarted, Sample
from core.spec.run.folder import RunDir

RECALL = "val/student/mean_recall"
PNG = b"\x89PNG\r\n\x1a\n"
FOREIGN = "<img src=http://example.org/a.png onerror=alert(1)>"
NOTE = f"# Why\n\n*Warmer* is better. {FOREIGN}\n\n![remote](http://example.org/b.png) [run](javascript:alert(1))\n"


class Tags(HTMLParser):
    """The elements of a page, with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))


@pytest.fixture
def runs(tmp_path: Path) -> list[RunDir]:
    """Two runs; the second was resumed at step 2 and has hostile names."""
    made = []
    for name, rate in (("one", 1e-3), ("two", 2e-3)):
        run = RunDir(tmp_path / "runs" / name)
        run.create()
        config = override(preset_config("clip", "tiny"), [f"optim.learning_rate={rate}"])
        run.config.write_text(config.to_json())
        with closing(EventWriter(run.events)) as writer:
            writer.write(RunStarted(step=0, total_steps=4, config_digest="d"))
            for step in range(1, 5):
                writer.write(Metrics(step=step, values={"train/loss": 4.0 / step}))
            writer.write(Evaluated(step=4, values={RECALL: 0.9, f"val/{FOREIGN}": 1.0}))
            if name == "two":
                writer.write(RunStarted(step=2, total_steps=4, config_digest="d",
                                        parent={"run": FOREIGN, "step": 7, "kind": "fork"}))  # fmt: skip
                writer.write(Metrics(step=3, values={"train/loss": 1.0}))
                writer.write(Evaluated(step=4, values={RECALL: 0.5}))
            hits = [{"image": "/secret/folder/cat_1.png", "score": 1.0}]
            writer.write(Sample(step=4, what="retrieval", content={"student": [{"caption": FOREIGN, "hits": hits}]}))
            writer.write(RunFinished(step=4))
        made.append(run)
    return made


def test_runs_of_the_same_name_have_separate_curves(tmp_path: Path) -> None:
    runs = [RunDir(tmp_path / study / "clip-s0") for study in ("a", "b", "c")]
    for loss, run in enumerate(runs, start=1):
        run.create()
        with closing(EventWriter(run.events)) as writer:
            writer.write(Metrics(step=1, values={"train/loss": float(loss)}))
    curves = collect("Studies", runs).plots()["train/loss"]
    assert curves == {"clip-s0": [(1, 1.0)], "clip-s0 (2)": [(1, 2.0)], "clip-s0 (3)": [(1, 3.0)]}


def test_a_report_shows_the_results_of_the_runs(runs: list[RunDir]) -> None:
    report = collect("Rates", runs, NOTE)
    assert report.settings == {"optim.learning_rate": [1e-3, 2e-3]}
    assert list(report.plots())[:2] == ["train/loss", RECALL]
    assert report.plots()["train/loss"]["two"] == [(1, 4.0), (2, 2.0), (3, 1.0)], "discarded points are omitted"
    text = to_markdown(report)
    assert "| one | done | 4/4 | 90.0 % (val/student/mean\\_recall, step 4) |  |" in text
    assert "50.0 %" in text
    assert "fork of " in text
    assert "cat\\_1.png" in text
    assert "/secret" not in text


def test_foreign_text_is_escaped_and_nothing_is_loaded(runs: list[RunDir]) -> None:
    report = collect(FOREIGN, runs, NOTE)
    page = to_html(report)
    assert "<em>Warmer</em>" in page
    parser = Tags()
    parser.feed(page)
    images = [attributes for tag, attributes in parser.found if tag == "img"]
    assert len(images) == len(report.plots())
    assert all(attributes["src"].startswith("data:image/svg+xml;base64,") for attributes in images)
    assert not {"script", "iframe", "object", "link"} & {tag for tag, _ in parser.found}
    links = [attributes for tag, attributes in parser.found if tag == "a"]
    assert links == [{"href": "http://example.org/b.png"}], "the image is a link, and javascript: is not"
    names = {name for _, attributes in parser.found for name in attributes}
    assert names <= {"src", "alt", "href", "charset", "http-equiv", "content"}
    for data in re.findall(r"base64,([A-Za-z0-9+/=]+)", page):
        drawing = ElementTree.fromstring(b64decode(data))
        assert {part.tag.rpartition("}")[2] for part in drawing.iter()} <= {"svg", "rect", "path", "polyline", "text"}
    for text in (to_markdown(report), to_markdown(replace(report, note="", results=NOTE))):
        assert re.search(r"(?<!\\)<img", text) is None, "escaped"
        assert "![remote" not in text


def test_latex_special_characters_are_escaped(runs: list[RunDir]) -> None:
    text = to_latex(collect("50 % of {a_b} & \\input{/etc/passwd}", runs))
    assert r"\section*{50 \% of \{a\_b\} \& \textbackslash{}input\{/etc/passwd\}}" in text
    assert r"\addplot+[no marks] coordinates {(1,4) (2,2) (3,1)};" in text
    assert text.count(r"\begin{") == text.count(r"\end{")
    report = collect("Größe → 图\x1b", runs)
    report.runs[1].name = "[2ex] first"
    text = to_latex(report)
    assert re.search(r"\\\\( \\hline)?\s*[\[*]", text) is None, "a row that begins with [ or *"
    assert r"\section*{Größe → 图 }" in text
    before, document = text.split(r"\begin{document}")
    declared = set(re.findall(r"DeclareUnicodeCharacter\{([0-9A-F]+)\}", before))
    assert declared == {f"{ord(character):04X}" for character in document if ord(character) > 0x17F} == {"2192", "56FE"}
    assert text.isascii() or all(character == "\n" or character.isprintable() for character in text)


def _log(run: RunDir, step: int, **content: object) -> None:
    with closing(EventWriter(run.events)) as writer:
        writer.write(Sample(step=step, what="logged", content=content))


def _images(*files: str) -> dict[str, object]:
    return {"type": "images", "images": [{"image": file, "caption": f"caption of {file}"} for file in files]}


def test_a_report_shows_the_last_logged_images_tables_and_texts(runs: list[RunDir]) -> None:
    (runs[0].path / "samples").mkdir()
    for name in ("old", "new"):
        (runs[0].path / "samples" / f"{name}.png").write_bytes(PNG + name.encode())
    table = {"type": "table", "columns": ["image", "loss"], "rows": [[f"{FOREIGN}{row}", row] for row in range(30)]}
    _log(runs[0], 1, seen=_images("samples/old.png"))
    _log(runs[0], 3, seen=_images("samples/new.png"), worst=table, said={"type": "text", "text": f"one\n{FOREIGN}"})
    report = collect("Samples", runs)
    new = f"data:image/png;base64,{b64encode(PNG + b'new').decode()}"
    page, text, latex = to_html(report), to_markdown(report), to_latex(report)
    parser = Tags()
    parser.feed(page)
    logged = [attributes for tag, attributes in parser.found if tag == "img" and "svg" not in attributes["src"]]
    assert logged == [{"alt": "caption of samples/new.png", "src": new}]
    assert f"![caption of samples/new.png]({new})" in text
    assert "samples/new.png: caption of samples/new.png" in latex
    for written in (page, text, latex):
        assert "one: seen, step 3" in written
        assert "old.png" not in written
        assert "a.png onerror=alert(1)" in written
    assert f"<pre>one\n{html.escape(FOREIGN)}</pre>" in page
    assert f"    one\n    {FOREIGN}\n" in text, "code, in which HTML is text"
    assert [len(sample.table) for sample in report.runs[0].logged.values()] == [0, 21, 0]
    _log(runs[0], 2, late=_images("samples/new.png"))
    with closing(EventWriter(runs[0].events)) as writer:
        writer.write(RunStarted(step=2, total_steps=4, config_digest="d"))
    assert list(collect("Samples", runs).runs[0].logged) == ["late"], "a resumed run repeats step 3"


def test_a_report_contains_no_file_that_a_run_points_to_outside_its_folder(runs: list[RunDir], tmp_path: Path) -> None:
    secret, samples = tmp_path / "secret.png", runs[0].path / "samples"
    samples.mkdir()
    secret.write_bytes(PNG + b"secret")
    (samples / "link.png").symlink_to(secret)
    (samples / "folder").symlink_to(tmp_path)
    (samples / "text.png").write_bytes(b"secret")
    (samples / "large.png").write_bytes(PNG + b"secret" * MAX_IMAGE_BYTES)
    os.mkfifo(samples / "pipe.png")
    planted = [
        str(secret), "../../secret.png", "samples/../../../secret.png", "samples/link.png", "samples/folder/secret.png",
        "samples/pipe.png", "samples/text.png", "samples/large.png", "\\\\host\\a.png", "", "\0",
    ]  # fmt: skip
    for step, file in enumerate(planted):
        _log(runs[0], step, planted=_images(file, "samples/gone.png"))
        report = collect("Planted", runs[:1])
        assert [image.data for image in report.runs[0].logged["planted"].images] == [b"", b""], file
        for write in (to_html, to_markdown, to_latex):
            assert b64encode(PNG).decode()[:8] not in write(report), file
    _log(runs[0], 99, seen="none", other={"type": "images", "images": [3, {"image": 4}, {}]}, bad={"type": "table"})
    assert list(collect("Planted", runs[:1]).runs[0].logged) == ["planted"]


def test_the_images_of_a_report_are_bounded_in_number_and_size(runs: list[RunDir]) -> None:
    files = [f"{number}.png" for number in range(10)]
    size = MAX_TOTAL_BYTES // 28
    assert size < MAX_IMAGE_BYTES
    for run in runs * 2:
        for file in files:
            (run.path / file).write_bytes(PNG.ljust(size))
        _log(run, 5, **{file: _images(file) for file in files})
    report = collect("Large", runs * 2)
    included = [[len(sample.images[0].data) for sample in run.logged.values()] for run in report.runs]
    assert [len(sizes) for sizes in included] == [8, 8, 8, 8]
    assert [sum(sizes) // size for sizes in included] == [8, 8, 8, 4]


def test_a_setting_that_is_no_text_can_be_written(tmp_path: Path) -> None:
    """JSON may contain a lone surrogate, and a file name bytes that are not UTF-8."""
    for name in ("one", "two\udcff"):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        setting = {"kind": "logged", "name": "x", "config": {"\ud800": f"\ud800 {name == 'one'}"}}
        (folder / "config.json").write_text(json.dumps(setting))
        with closing(EventWriter(folder / "events.jsonl")) as writer:
            writer.write(RunStarted(step=0, total_steps=4, config_digest="d"))
            writer.write(Metrics(step=1, values={"train/loss": 1.0}))
    for suffix in ("html", "md", "tex"):
        page = tmp_path / f"page.{suffix}"
        runs = ["one", "two\udcff"]
        assert main(["runs", "report", *runs, "--home", str(tmp_path), "--output", str(page)]) == 0
        assert "? True" in page.read_text() or "  True" in page.read_text()


@pytest.mark.usefixtures("runs")
def test_the_command_writes_the_format_of_the_suffix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["runs", "report", "--home", str(tmp_path)]
    note, page = tmp_path / "note.md", tmp_path / "page.html"
    note.write_text("All of it.")
    assert main([*command, "one", "two", "--note", str(note), "--output", str(page)]) == 0
    assert capsys.readouterr().out == f"{page}\n"
    assert "All of it." in page.read_text()
    assert main([*command, "one", "--output", "a.pdf"]) == 1
    assert capsys.readouterr().err == "error: a.pdf has no supported extension; use .html, .md, .tex.\n"


def test_a_curve_with_a_single_point_is_visible() -> None:
    points = [
        part.attrib for part in ElementTree.fromstring(svg("val/x", {"one": [(4, 0.5)]})) if "points" in part.attrib
    ]
    assert points[0]["stroke-linecap"] == "round"
    start, end = points[0]["points"].split()
    assert start == end
    run = ReportedRun("one", Path("one"), curves={"val/x": {4: 0.5}})
    assert r"\addplot+[only marks] coordinates {(4,0.5)};" in to_latex(Report("one", "", "", [run], {}))
