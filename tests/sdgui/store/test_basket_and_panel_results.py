"""The basket and the last results of panels: kept over a restart, exchanged, and undone."""

from __future__ import annotations

from pathlib import Path

from core.spec.data.fixes import Fix
from sdgui.store.own.fixes import Exchange
from sdgui.store.store import Store
from tests.sdgui.store.conftest import OpenStore

ODD = "/images/\udcff '.png"  # a name that is not text


def wrong(path: str, caption: str, **more: str) -> Fix:
    return Fix.model_validate({"kind": "wrong", "path": path, "caption": caption, "found": 5.0} | more)


def held(store: Store) -> list[tuple[str, Fix]]:
    return [(one.source, one.fix) for one in store.fixes()]


def test_the_basket_outlives_the_window_and_the_newest_fix_of_a_pair_counts(
    open_store: OpenStore, tmp_path: Path
) -> None:
    store = open_store(tmp_path / "home")
    first = [wrong(ODD, "a cat", panel="Clean", run="/runs/x"), wrong("/b.png", "a dog")]
    store.put_fixes("/data.csv", first)
    store.put_fixes("/other.csv", first[:1])
    renamed = Fix(kind="recaptioned", path=ODD, caption="a cat", value="a\0 tiger", panel="Caption", found=6.0)
    change = store.put_fixes("/data.csv", [wrong(ODD, "a cat"), renamed])
    assert [one.fix for one in change.removed] == first[:1]
    clean = renamed.model_copy(update={"value": "a tiger"})
    wanted = [("/data.csv", first[1]), ("/other.csv", first[0]), ("/data.csv", clean)]
    assert held(open_store(tmp_path / "home")) == wanted
    assert store.fix_count() == 3


def test_what_was_exchanged_is_exchanged_back(store: Store) -> None:
    """Step by step to the empty basket; an entry that was put back has another id, and is found all the same."""
    done = [store.put_fixes("/d.csv", [wrong(f"/{i}.png", "x") for i in range(250)])]
    done.append(store.put_fixes("/d.csv", [Fix(kind="recaptioned", path="/7.png", caption="x", value="y", found=1.0)]))
    done.append(store.take_fixes([one.id for one in store.fixes()]))
    assert store.fixes() == ()
    for left, change in zip((250, 250, 0), reversed(done), strict=True):
        store.exchange_fixes(Exchange(put=change.removed, removed=change.put))
        assert store.fix_count() == left
        if left:
            kinds = {one.fix.kind for one in store.fixes() if one.fix.path == "/7.png"}
            assert kinds == ({"recaptioned"} if change is done[2] else {"wrong"})


def test_the_last_result_of_a_run_and_its_data_is_found_again(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store(tmp_path / "home")
    store.keep_result("clean", "/runs/a", "/d.csv", {"pairs": 1})
    store.keep_result("clean", "/runs/a", "/d.csv", {"pairs": 2, "names": [ODD]})
    store.keep_result("clean", "/runs/b", "/d.csv", {"pairs": 3})
    store.keep_result("classify", "/runs/a", "/d.csv", {"pairs": 4})
    store = open_store(tmp_path / "home")
    found = store.last_result("clean", "/runs/a", "/d.csv")
    assert found is not None
    assert (found.subject, found.data, dict(found.content)) == ("/runs/a", "/d.csv", {"pairs": 2, "names": [ODD]})
    newest = store.last_result("clean")
    assert newest is not None
    assert newest.content == {"pairs": 3}
    assert store.last_result("clean", "/runs/c") is None
    for number in range(45):
        store.keep_result("search", f"/runs/{number}", "", {"n": number})
    assert store.last_result("search", "/runs/2") is None, "the oldest made room"
    assert store.last_result("search", "/runs/44") is not None
    assert store.last_result("classify", "/runs/a") is not None
