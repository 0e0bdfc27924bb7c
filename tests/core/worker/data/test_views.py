"""Views for the window are the trainer's to the bit: what the loader and the device-side distortion give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from core.data.batch import Batch, View
from core.data.dataset import open_dataset
from core.data.loader import Loader, RankPosition
from core.model.towers.sizes import input_sizes
from core.model.towers.towers import build_towers, resolve_architecture
from core.spec.config import RunConfig
from core.worker.data.session import DataSession
from tests.core.data.samples import tokenize, write_pairs
from tests.core.data.sources.shards.tars import write_shards

DINO = {"count": 1, "crop_min": 0.4, "flip": True, "jitter": 0.8, "greyscale": 0.3, "blur": 0.5, "solarize": 0.3}
STRONG = {"count": 2, "crop_min": 0.3, "randaugment_ops": 2, "erase": 0.5}
LOCAL = {"count": 2, "crop_min": 0.05, "crop_max": 0.4, "size": 0.5}
VIEWS = {
    "masked, local and mixed": {"student": {**STRONG, "mask": 0.7, "mix": "either"}, "local": LOCAL},
    "the teacher's own": {"student": {**DINO, "mix": "mixup"}, "teacher": {"count": 2, "crop_min": 0.4, "flip": True}},
    "shared": {"student": {**DINO, "count": 2, "mix": "cutmix", "mask": 1.0}, "shared": True},
    "the clean one alone": {"teacher": {"count": 0}},
    "patches left out": {"student": {"count": 1}, "clean": {"keep": 0.7}},
}


def heard(*_: Any) -> None:
    """A reporter that forgets."""


def run_config(data: Path, **changed: Any) -> RunConfig:
    return RunConfig.model_validate(
        {
            "seed": 5,
            "data": {"train": str(data), "workers": 0},
            "towers": {"architecture": "sd-tiny"},
            "teacher": {"kind": "ema"},
            "optim": {"batch_size": 6, "epochs": 4},
            **changed,
        }
    )


def asked(tmp_path: Path, config: RunConfig, step: int, rows: list[int]) -> tuple[dict[str, Any], bytes]:
    to = tmp_path / "pixels"
    answer = DataSession().views(json.loads(config.to_json()), str(to), heard, step, rows)  # type: ignore[arg-type]
    return answer, to.read_bytes()


def loaded(config: RunConfig, step: int, device_distorts: bool) -> Batch:
    """Batch ``step`` as the trainer has it on its device, distorted where a CPU or a GPU would do it."""
    size, patch = input_sizes("sd-tiny")
    dataset = open_dataset(config.data.train, config.data, size, tokenize)
    loader = Loader(dataset, config, size, patch_side=patch, position=RankPosition(device_distorts=device_distorts))
    return next(loader.batches(step, step + 1)).to(torch.device("cpu"))


def seen(batch: Batch, config: RunConfig) -> list[tuple[str, View]]:
    """Every view with who sees it, from the loop's own batch."""
    taught = [("teacher", view) for view in batch.teacher]
    clean = "student" if batch.teacher else "both"
    return [(clean, batch.clean), *(("student", view) for view in batch.student), *taught]


def pixels(view: View) -> Tensor:
    """What reaches the tower, before its colours are scaled."""
    if view.mix is None:
        return view.images
    return view.mix.apply(view.images.float()).round().clamp(0, 255).to(torch.uint8)


def marks(view: View, position: int) -> str:
    """What the student does not see of an image: 1 hidden, 2 left out."""
    if view.mask is not None:
        return "".join(str(int(hidden)) for hidden in view.mask[position])
    if view.visible is None:
        return ""
    read = set(view.visible[position].tolist())
    return "".join("0" if patch in read else "2" for patch in range((view.images.shape[-1] // 8) ** 2))


@pytest.mark.parametrize("views", VIEWS.values(), ids=VIEWS)
def test_views_equal_the_trainers_bit_for_bit(tmp_path: Path, views: dict[str, Any]) -> None:
    """Images of two batches of the second epoch, in another order than the batches', by CPU and by device."""
    config = run_config(write_pairs(tmp_path, 15, (40, 30), captions=2), views=views)
    batches = {step: (loaded(config, step, False), loaded(config, step, True)) for step in (2, 3)}
    wanted = [(step, position) for step, position in ((3, 4), (2, 0), (3, 1))]
    rows = [int(batches[step][0].rows[position]) for step, position in wanted]
    answer, content = asked(tmp_path, config, 2, rows)
    assert [one["row"] for one in answer["images"]] == rows
    assert [one["batch"] for one in answer["images"]] == [3, 2, 3]
    assert (answer["epoch"], answer["steps_per_epoch"], answer["skipped"]) == (1, 2, [])
    mixes = 0
    for number, shown in enumerate(answer["views"]):
        side = shown["side"]
        for cell, (step, position) in zip(shown["cells"], wanted, strict=True):
            for batch in batches[step]:
                who, view = seen(batch, config)[number]
                assert shown["who"] == who
                start, length = cell["offset"], 3 * side * side
                mine = torch.frombuffer(bytearray(content[start : start + length]), dtype=torch.uint8)
                assert torch.equal(mine.view(side, side, 3).permute(2, 0, 1), pixels(view)[position])
                assert cell["mask"] == marks(view, position)
                if view.mix is None:
                    assert cell["mixed"] is None
                    continue
                mixes += 1
                partner = batch.rows[view.mix.partner[position]]
                assert cell["mixed"]["path"] == str(tmp_path / "images" / f"{int(partner):03}.png")
                assert (cell["mixed"]["share"], cell["mixed"]["box"]) == (view.mix.share, [*(view.mix.box or ())])
    assert bool(mixes) == ("mix" in json.dumps(views))
    texts = {int(row): text for batch, _ in batches.values() for row, text in zip(batch.rows, batch.texts, strict=True)}
    for one in answer["images"]:
        words = tokenize([one["caption"]])[0]
        assert words[words > 0].tolist() == [word for word in texts[one["row"]].tolist() if word]


def test_a_batch_is_shown_when_no_image_is_selected(tmp_path: Path) -> None:
    config = run_config(write_pairs(tmp_path, 15))
    answer, _ = asked(tmp_path, config, 3, [])
    assert [one["row"] for one in answer["images"]] == loaded(config, 3, False).rows.tolist()
    every = {row for step in (2, 3) for row in loaded(config, step, False).rows.tolist()}
    left = next(row for row in range(15) if row not in every)
    assert asked(tmp_path, config, 3, [left])[0]["skipped"] == [left]


def test_views_of_occasional_steps_show_their_frequency(tmp_path: Path) -> None:
    teacher, views = {"kind": "ema", "every": 3}, {"student": {"count": 2}, "teacher": {"count": 0}}
    config = run_config(write_pairs(tmp_path, 6), teacher=teacher, views=views)
    shown = [(one["title"], one["who"]) for one in asked(tmp_path, config, 0, [1])[0]["views"]]
    assert shown == [
        ("Clean", "student"), ("Student 1, every 3 steps", "student"), ("Student 2, every 3 steps", "student"),
        ("Clean, every 3 steps", "teacher"),
    ]  # fmt: skip


def test_shards_show_their_batch(tmp_path: Path) -> None:
    pattern = write_shards(tmp_path, [8, 8, 8])
    answer, _ = asked(tmp_path, run_config(Path(pattern)), 1, [0])
    assert len(answer["images"]) == 6
    assert answer["by_choice"] is False


def test_a_batch_larger_than_the_data_shows_all_rows(tmp_path: Path) -> None:
    config = run_config(write_pairs(tmp_path, 4), optim={"batch_size": 64})
    assert len(asked(tmp_path, config, 0, [])[0]["images"]) == 4


def test_a_folder_of_images_without_captions_has_views(tmp_path: Path) -> None:
    write_pairs(tmp_path, 4)
    (tmp_path / "pairs.csv").unlink()
    answer, _ = asked(tmp_path, run_config(tmp_path / "images"), 0, [2, 1])
    assert [(one["row"], one["caption"]) for one in answer["images"]] == [(2, ""), (1, "")]


def test_view_sizes_match_the_tower() -> None:
    for name in ("sd-tiny", "sd-tiny-resnet"):
        towers = build_towers(resolve_architecture(name))
        assert input_sizes(name) == (towers.image_size, towers.patch_side)
