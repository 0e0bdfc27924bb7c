"""The images of a study, shape by shape: where each value lies, by what it is named, and that all is on the sheet."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from core.studies.study.cost_plot import draw_costs
from core.studies.study.plot import draw
from core.studies.study.svg import COLOURS

SVG = "{http://www.w3.org/2000/svg}"


class Sheet:
    """An image's shapes by kind, with their numbers as numbers."""

    def __init__(self, text: str) -> None:
        self._root = ElementTree.fromstring(text)
        self.width, self.height = (float(self._root.attrib[side]) for side in ("width", "height"))

    def all(self, kind: str) -> list[dict[str, Any]]:
        found = []
        for one in self._root.iter(SVG + kind):
            numbers = {name: self._number(value) for name, value in one.attrib.items()}
            found.append(numbers | {"words": one.text or ""})
        return found

    @staticmethod
    def _number(value: str) -> float | str:
        try:
            return float(value)
        except ValueError:
            return value

    def words(self, words: str) -> list[tuple[float, float, str]]:
        """Where they stand."""
        return [(one["x"], one["y"], one["text-anchor"]) for one in self.all("text") if one["words"] == words]

    def check(self) -> None:
        """Every shape is on the sheet."""
        for kind in ("line", "circle", "rect", "text"):
            for one in self.all(kind):
                for name, value in one.items():
                    if name in ("x", "x1", "x2", "cx"):
                        assert 0 <= value <= self.width, one
                    if name in ("y", "y1", "y2", "cy"):
                        assert 0 <= value <= self.height, one


def mean(value: float, *values: float, half: float | None = None) -> dict[str, Any]:
    low, high = (None, None) if half is None else (value - half, value + half)
    return {"mean": value, "low": low, "high": high, "values": list(values)}


def test_dots_and_intervals_are_drawn_at_their_values() -> None:
    arms = {
        "one": {"networks": {"final": {"R@1": mean(0.4, 0.3, 0.5, half=0.1), "loss": mean(2.0), "third": mean(0.0)}}},
        "none": {"networks": {}},
        "two & more": {"networks": {"final": {"R@1": mean(0.8, 0.8)}}},
    }
    sheet = Sheet(draw({"name": "x", "arms": arms, "metrics": ["R@1", "loss", "third"]}))
    sheet.check()
    assert (sheet.width, sheet.height) == (2 * (150 + 360 + 30), 40 + 2 * (34 + 22 * 2 + 26))
    assert len(sheet.words("x: means over seeds with 95 % intervals")) == 1
    right, below = 540, 104
    assert [sheet.words(name)[0][:2] for name in ("R@1", "loss", "third")] == [
        (150, 54), (150 + right, 54), (150, 54 + below),
    ]  # fmt: skip
    rows = [40 + 34, 40 + 34 + 22]
    assert sheet.words("one")[0] == (142, rows[0] + 4, "end")
    assert len(sheet.words("two & more")) == 3
    assert sheet.words("none") == []
    axis = {0.3: 150, 0.4: 222, 0.5: 294, 0.8: 510}  # the axis spans 0.3 to 0.8
    dots = [(one["cx"], one["cy"], one["r"], one["fill"]) for one in sheet.all("circle")]
    assert dots == [
        (axis[0.3], rows[0], 2.5, COLOURS[0]), (axis[0.5], rows[0], 2.5, COLOURS[0]),
        (axis[0.4], rows[0], 4.5, COLOURS[0]),
        (axis[0.8], rows[1], 2.5, COLOURS[1]), (axis[0.8], rows[1], 4.5, COLOURS[1]),
        (150 + right + 180, rows[0], 4.5, COLOURS[0]), (150 + 180, rows[0] + below, 4.5, COLOURS[0]),
    ]  # fmt: skip
    interval = sheet.all("line")[0]
    assert (interval["x1"], interval["y1"], interval["x2"]) == (axis[0.3], rows[0], axis[0.5])
    assert sheet.words("40.0") == [(518, rows[0] + 4, "start")], "its mean"
    assert sheet.words("80.0")[1] == (510, rows[1] + 25, "end"), "the end of the axis"


def costs(**more: Any) -> dict[str, Any]:
    def arm(of: str, budget: float, **metrics: Any) -> dict[str, Any]:
        return {"of": of, "cost": {"budget": budget}, "networks": {"final": metrics} if metrics else {}}

    arms = {
        "a-100": arm("a", 100.0, **{"R@1": mean(0.5, half=0.1), "other": mean(0.2)}),
        "a-10": arm("a", 10.0, **{"R@1": mean(0.2, half=0.1), "other": mean(0.2)}),
        "b-10": arm("b", 10.0, **{"R@1": mean(0.3)}),
        "b-100": arm("b", 100.0),
    }
    return {"name": "x", "arms": arms, "metrics": ["R@1", "other", "third"], "budgets": [100.0, 10.0], **more}


def test_costs_are_drawn_over_the_log_budget_with_a_legend() -> None:
    sheet = Sheet(draw_costs(costs()))
    sheet.check()
    across, down = 60 + 360 + 40, 220 + 60
    top = 60 + 18 * 2 + 20
    assert (sheet.width, sheet.height) == (2 * across, top + 2 * down)
    assert [sheet.words(name) for name in "ab"] == [[(92, 44, "start")], [(92, 62, "start")]]
    assert [one["stroke"] for one in sheet.all("line")[:2]] == [COLOURS[0], COLOURS[1]]
    assert [sheet.words(name)[0][:2] for name in ("R@1", "other", "third")] == [
        (60, top - 8), (60 + across, top - 8), (60, top + down - 8),
    ]  # fmt: skip

    def at(value: float) -> float:
        return round(top + 220 * (1 - (value - 0.1) / 0.5), 1)

    dots = [(one["cx"], one["cy"], one["fill"]) for one in sheet.all("circle")]
    assert dots == [
        (60, at(0.2), COLOURS[0]),
        (420, at(0.5), COLOURS[0]),
        (60, at(0.3), COLOURS[1]),
        (60 + across, top + 110, COLOURS[0]),  # all the same: in the middle
        (420 + across, top + 110, COLOURS[0]),
    ]
    paths = [(one["points"], one["stroke"]) for one in sheet.all("polyline")]
    assert paths[0] == (f"60.0,{at(0.2)} 420.0,{at(0.5)}", COLOURS[0])
    assert paths[1] == (f"60.0,{at(0.3)}", COLOURS[1])
    whiskers = [one for one in sheet.all("line")[2:] if one["stroke"] != "black"]
    assert [(one["x1"], one["y1"], one["x2"], one["y2"]) for one in whiskers] == [
        (60, at(0.1), 60, at(0.3)), (420, at(0.4), 420, at(0.6)),
    ]  # fmt: skip
    assert (sheet.words("10.0")[0][1], sheet.words("60.0")[0][1]) == (top + 224, top + 4), "the ends of the axis"
    assert (sheet.words("10 s")[0][0], sheet.words("100 s")[0][0]) == (60, 420)
