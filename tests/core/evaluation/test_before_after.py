"""The page of two runs: its numbers, its images, and that nothing foreign runs in it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.checkpoint.opening import Subject
from core.evaluation import before_after
from core.evaluation.before_after import BeforeAfter, PageError, measure, over_seeds, save_page
from core.evaluation.evaluate import Request
from core.evaluation.report import Report
from core.metrics.outcome import Outcome, Queries
from core.metrics.statistics import compare
from core.spec.config import override
from core.spec.data.fixes import Fix, FixesRecord
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir

EVIL = '<script>alert(1)</script><img src=x onerror="alert(2)">'


class Tags(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def report(found: int, queries: int = 40) -> Report:
    """``found`` of the queries were answered."""
    values = np.array([1.0] * found + [0.0] * (queries - found))
    name, share = "image_to_text_R@1", found / queries
    outcome = Outcome(task="retrieval", samples=queries, metrics={name: share}, per_query={name: Queries(values)})
    return Report(Subject(model="m", dataset="val.csv"), outcome)


def quiet(doing: str, done: int, total: int) -> None:
    """Nobody watches."""


def test_the_page_holds_numbers_and_images_and_runs_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), "red").save(tmp_path / "a.png")
    fixes = (
        Fix(kind="recaptioned", path=str(tmp_path / "a.png"), caption=EVIL, value="a red field", panel="Clean"),
        Fix(kind="excluded", path=str(tmp_path / f"{EVIL.replace('/', '')}.png")),
    )
    record = FixesRecord(source=EVIL, fixed="f.csv", made=0.0, images=3, captions=3, fixes=fixes)
    before, after = report(10), report(30)
    changes = compare(after.outcome, before.outcome)
    found = BeforeAfter(before, after, changes, record, (EVIL, "f.csv"), {"seed": ("0", "1")})
    save_page(found, tmp_path / "page.html", f"Title {EVIL}", quiet)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    read = Tags()
    read.feed(page)
    assert "script" not in {tag for tag, _ in read.tags}
    (image,) = [attributes for tag, attributes in read.tags if tag == "img"]
    assert str(image["src"]).startswith("data:image/webp;base64,")
    assert not any(name.startswith("on") or name == "href" for _, attributes in read.tags for name in attributes)
    assert any("default-src 'none'" in str(attributes.get("content")) for _, attributes in read.tags)
    one = changes["image_to_text_R@1"]
    assert one.interval.low > 0
    for wanted in (
        "25.0 %",
        "75.0 %",
        f"{100 * one.value:+.1f}",
        f"{100 * one.interval.low:+.1f}",
        "a red field",
        EVIL,
    ):
        assert wanted in read.text
    assert "val.csv, 40 captions." in read.text, "the samples of retrieval are captions"
    assert "also differ in these settings" in read.text
    assert "seed: 0 before, 1 after" in read.text


def test_the_difference_of_a_single_query_has_no_interval(tmp_path: Path) -> None:
    before, after = report(0, queries=1), report(1, queries=1)
    differences = compare(after.outcome, before.outcome)
    save_page(BeforeAfter(before, after, differences, None, ("s.csv", "f.csv"), {}), tmp_path / "page", "Title", quiet)
    read = Tags()
    read.feed((tmp_path / "page").read_text(encoding="utf-8"))
    assert "+100.0 no interval" in read.text
    assert "nan" not in read.text
    assert ("tr", {"class": "open"}) in read.tags


def test_a_page_shows_the_first_fixes_and_a_new_label_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(before_after, "MAX_IMAGES", 2)
    fixes = tuple(Fix(kind="relabelled", path=f"/{name}.png", label=EVIL, value=EVIL) for name in "abc")
    record = FixesRecord(source="s.csv", fixed="f.csv", made=0.0, images=3, captions=3, fixes=fixes)
    found = BeforeAfter(report(10), report(10), {}, record, ("s.csv", "f.csv"), {})
    told: list[tuple[int, int]] = []
    save_page(found, tmp_path / "page.html", "Title", lambda _doing, done, total: told.append((done, total)))
    read = Tags()
    read.feed((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert {tag for tag, _ in read.tags} & {"script", "img"} == set()
    assert "The first 2 of 3 are shown." in read.text
    assert [tag for tag, _ in read.tags].count("figure") == 2
    assert told == [(0, 2), (1, 2)]


def test_runs_without_a_validation_split_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(before_after, "open_model", lambda run: pytest.fail("nothing is opened"))
    for name in ("one", "two"):
        run = RunDir(tmp_path / name)
        run.create()
        run.config.write_text(override(preset_config("clip", "tiny"), ["data.train=x"]).to_json(), encoding="utf-8")
    with pytest.raises(PageError, match="has no test or validation data"):
        measure([str(tmp_path / "one")], [str(tmp_path / "two")], "", quiet)
    with pytest.raises(PageError, match="1 runs before and 0 runs after the fixes; choose equal numbers"):
        measure([str(tmp_path / "one")], [], "", quiet)


def test_differences_are_after_minus_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"one": report(10), "two": report(30), "three": report(12), "four": report(20)}
    monkeypatch.setattr(before_after, "open_model", lambda run: Path(run).name)
    asked: list[str] = []

    def evaluated(model: str, request: Request, *_: object) -> Report:
        asked.append(request.data)
        return found[model]

    monkeypatch.setattr(before_after, "evaluate", evaluated)
    for name, seed in (("one", 0), ("two", 1), ("three", 5), ("four", 5)):
        run, settings = RunDir(tmp_path / name), [f"data.train={name}.csv", "data.val=v.csv", f"seed={seed}"]
        settings += [f"name={name}", *(["data.test=t.csv"] if name == "four" else [])]
        run.create()
        run.config.write_text(override(preset_config("clip", "tiny"), settings).to_json(), encoding="utf-8")
    folders = {name: str(tmp_path / name) for name in found}
    measured = measure([folders["one"]], [folders["two"]], "", quiet)
    assert measured.differences["image_to_text_R@1"].value == pytest.approx(0.5)
    assert (measured.before, measured.after) == (found["one"], found["two"])
    assert measured.sources == ("one.csv", "two.csv")
    assert measured.other_settings == {"seed": ("0", "1")}
    assert over_seeds(measured) == {}
    measure([folders["one"]], [folders["four"]], "", quiet)
    measure([folders["four"]], [folders["one"]], "", quiet)
    measure([folders["one"]], [folders["four"]], "mine.csv", quiet)
    assert asked == ["v.csv"] * 2 + ["t.csv"] * 2 + ["v.csv"] * 2 + ["mine.csv"] * 2, "on the data of the run after"

    several = measure([folders["one"], folders["three"]], [folders["two"], folders["four"]], "", quiet)
    assert several.before is found["one"]
    assert several.differences == measured.differences
    assert [one.seed for one in several.seeds] == [0, 5]
    one = over_seeds(several)["image_to_text_R@1"]
    assert (one.before.tolist(), one.after.tolist()) == ([0.25, 0.3], [0.75, 0.5])
    assert one.mean == pytest.approx(0.35)  # of 0.5 and 0.2, whose t interval has one degree of freedom
    assert one.change.high - one.mean == pytest.approx(12.706 * 0.15, rel=1e-3)
    save_page(several, tmp_path / "page.html", "Two seeds", quiet)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for wanted in ("Over 2 seeds", "27.5 %", "25.0 % to 30.0 %", "+35.0", "with the seeds 0, 5"):
        assert wanted in page
