"""A fixed copy against a plain loop that applies one fix after another to a list of pairs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core.data.derived.fixed import save_fixed
from core.data.sources.opening import open_source
from core.spec.data.fixes import Fix
from core.spec.errors import UserError

TABLE = {"a": (("one", "two", "three"), "x"), "b": (("four",), "y"), "c": (("one", "five"), "")}


def fixes_of(name: str) -> st.SearchStrategy[tuple[str, dict[str, str]]]:
    captions, values = st.sampled_from(TABLE[name][0]), st.sampled_from(("one", "new", "newer"))
    kinds = (
        st.fixed_dictionaries({"kind": st.just("wrong"), "caption": captions}),
        st.fixed_dictionaries({"kind": st.just("recaptioned"), "caption": captions, "value": values}),
        st.fixed_dictionaries({"kind": st.just("relabelled"), "label": st.just("kind"), "value": st.just("z")}),
        st.fixed_dictionaries({"kind": st.just("added"), "value": values}),
        st.fixed_dictionaries({"kind": st.just("excluded")}),
    )
    return st.tuples(st.just(name), st.one_of(kinds))


FIXES = st.lists(st.sampled_from(sorted(TABLE)).flatmap(fixes_of), max_size=6)
Content = dict[str, tuple[tuple[str, ...], str]]


def plainly(fixes: list[tuple[str, dict[str, str]]]) -> Content:
    """What is decided of each pair, the later fix instead of the earlier one; adding a caption takes an image in."""
    found: Content = {}
    for name, (captions, label) in TABLE.items():
        pairs: list[str | None] = list(captions)
        more, out, own = list[str](), False, [fix for of, fix in fixes if of == name]
        for fix in own:
            if fix["kind"] == "excluded":
                out = True
            elif fix["kind"] == "added":
                out = False
                more.append(fix["value"])
            elif fix["kind"] == "relabelled":
                label = fix["value"]
            else:
                pairs[captions.index(fix["caption"])] = fix.get("value")
        left = [one for one in [*pairs, *more] if one is not None]
        if left and not out:
            found[name] = (tuple(dict.fromkeys(left)), label)
    return found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    lines = ["filepath,title,kind"]
    for name, (captions, label) in TABLE.items():
        Image.new("RGB", (2, 2)).save(tmp_path / "images" / f"{name}.png")
        lines += [f"images/{name}.png,{caption},{label}" for caption in captions]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    return tmp_path / "pairs.csv"


def test_fixes_equal_a_plain_loop(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _file: None)

    @settings(max_examples=15)
    @given(FIXES)
    def holds(fixes: list[tuple[str, dict[str, str]]]) -> None:
        images = data.parent / "images"
        given = [Fix.model_validate({**fix, "path": str(images / f"{name}.png")}) for name, fix in fixes]
        expected, to = plainly(fixes), data.parent / "fixed.csv"
        if not expected:
            with pytest.raises(UserError, match="would be left"):
                save_fixed(str(data), given, to, replace=True)
            return
        record = save_fixed(str(data), given, to, replace=True)
        found = open_source(to)
        assert {row.image.stem: (row.captions, row.labels.get("kind", "")) for row in found.rows} == expected
        assert record.captions == sum(len(captions) for captions, _ in expected.values())
        assert record.images == len(expected)

    holds()
