"""By what the best checkpoint is chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.spec.config import override
from core.spec.presets import PRESETS, preset_config
from core.spec.run.events import Evaluated, EventReader
from core.spec.run.folder import RunDir
from core.studies.chain.ensemble import judge_together
from core.training.train import train
from core.training.validation import best_score, trains_retrieval
from tests.core.pictures import write_pairs

JUDGED = {"val/student/mean_recall": 0.2, "val/teacher/mean_recall": 0.3, "val/student/text_to_image_R@1": 0.9}
CLASSES = {"val/student/top1": 0.6, "val/teacher/top1": 0.5}


@pytest.mark.parametrize(
    ("preset", "values", "wanted"),
    [
        ("clip", JUDGED, (0.3, "teacher")),
        ("clip", JUDGED | CLASSES, (0.3, "teacher")),
        ("clip", JUDGED | {"val/student/mean_recall": 0.3}, (0.3, "teacher")),
        ("clip", JUDGED | {"val/student/mean_recall": 0.4}, (0.4, "student")),
        ("fixmatch", JUDGED | CLASSES, (0.6, "student")),
        ("dino", JUDGED, (0.75, "")),  # its recall is chance: the later, the better
        ("fixmatch", JUDGED, (0.75, "")),
    ],
)
def test_the_best_is_chosen_by_what_is_trained(
    preset: str, values: dict[str, float], wanted: tuple[float, str]
) -> None:
    assert best_score(values, preset_config(preset, "tiny").objectives, 0.75) == wanted


def test_presets_of_pictures_or_labels_alone_train_no_retrieval() -> None:
    without = {name for name in PRESETS if not trains_retrieval(preset_config(name, "tiny").objectives)}
    assert {"dino", "mean-teacher", "fixmatch", "mixmatch", "mixup"} <= without
    assert without.isdisjoint({"clip", "sd-clip", "coca", "albef", "siglip", "silc", "cosmos"})


def test_a_label_that_nothing_learns_ends_no_validation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path / "cache"))
    sources = write_pairs(tmp_path)
    for source in sources:
        head, *lines = source.read_text().splitlines()
        source.write_text("\n".join([f"{head},group", *(f"{line},{line.split()[2]}" for line in lines)]) + "\n")
    settings = [f"data.train={sources[0]}", f"data.val={sources[1]}", "data.label=group", "optim.epochs=1"]
    run = RunDir(tmp_path / "run")
    config = override(preset_config("clip", "tiny"), [*settings, "optim.batch_size=12", "runtime.threads=1"])
    assert train(config, run, quiet=True) == "done"
    (values,) = [event.values for event in EventReader(run.events).read_all() if isinstance(event, Evaluated)]
    assert "val/student/mean_recall" in values
    assert not any(name.endswith("/top1") for name in values)
    together = judge_together([run, run], str(sources[1]), "group", lambda what, done, of: None)
    assert [one.keys() == together["together"].keys() for one in together["each"]] == [True, True]
    assert "mean_recall" in together["together"]
