"""Keys describe what they name: a session that never opened or measured anything answers about it all the same."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from core.worker.classify import session as classify_session
from core.worker.classify.opened_data import open_data
from tests.core.labelled import read
from tests.core.worker.classify.desk_helpers import Answer, Desk


def _image(run: str, val: str) -> str:
    return str(Path(run).parent / "pairs" / read(val)[0][0])


def test_a_restarted_worker_answers_about_a_result(
    desk: Desk, run: str, val: str, probed: Answer, tmp_path: Path
) -> None:
    true = probed["classes"].index("red")
    cell = {"result": probed["result"], "true": true, "predicted": true}
    assert Desk().ask("cell", **cell) == desk.ask("cell", **cell)
    assert Desk().ask("mistakes", result=probed["result"])["images"] == probed["mistakes"]
    image = {"images": [_image(run, val)], "model": run, "probe": probed["result"]}
    assert Desk().ask("try", **image) == desk.ask("try", **image)
    saved = [
        Path(one.ask("save_probe", result=probed["result"], path=str(tmp_path / name))["path"]).read_bytes()
        for name, one in (("a", desk), ("b", Desk()))
    ]
    assert saved[0] == saved[1]


def test_a_restarted_worker_compares_and_fits_on_the_same_data(desk: Desk, opened: Answer, probed: Answer) -> None:
    knn = desk.ask("knn", opened=opened["opened"], k=3)
    pair = {"a": probed["result"], "b": knn["result"]}
    assert Desk().ask("compare", **pair) == desk.ask("compare", **pair)
    again = Desk().ask("probe", opened=opened["opened"])
    assert again["result"] == probed["result"]
    assert again["accuracy"] == probed["accuracy"]


def test_a_saved_probe_is_read_again_by_its_key(desk: Desk, run: str, val: str, probed: Answer, tmp_path: Path) -> None:
    path = desk.ask("save_probe", result=probed["result"], path=str(tmp_path / "mine"))["path"]
    key = desk.ask("load_probe", path=path)["probe"]
    asked = {"images": [_image(run, val)], "model": run, "probe": key}
    assert Desk().ask("try", **asked) == desk.ask("try", **asked)


def test_an_evicted_result_is_measured_again(run: str, val: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classify_session, "MAX_OPENED", 1)
    monkeypatch.setattr(classify_session, "MAX_RESULTS", 1)
    small = Desk()
    first = small.ask("open", model=run, data=val, label="colour")
    a = small.ask("knn", opened=first["opened"], k=3)
    second = small.ask("open", model=run, data=val, label="shape")
    small.ask("knn", opened=second["opened"], k=3)
    assert small.ask("mistakes", result=a["result"])["images"] == a["mistakes"]


def test_a_changed_training_table_of_the_run_is_read_again(run: str, val: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[object] = []
    monkeypatch.setattr(classify_session, "open_data", lambda *given: (reads.append(given), open_data(*given))[1])
    small = Desk()
    for _ in range(2):
        small.ask("open", model=run, data=val, label="colour")
    assert len(reads) == 1
    os.utime(Path(val).with_name("labelled-train.csv"))
    small.ask("open", model=run, data=val, label="colour")
    assert len(reads) == 2


def test_a_key_names_the_checkpoint_and_not_the_current_best(opened: Answer) -> None:
    asked = json.loads(opened["opened"])
    assert asked["model"].rpartition("@")[2].startswith("step-")
    assert asked["weights"] == opened["model"]["weights"] != ""
