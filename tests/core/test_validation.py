"""By what the best checkpoint is chosen."""

from __future__ import annotations

import pytest

from core.presets import PRESETS, preset_config
from core.validation import best_score, trains_retrieval

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
