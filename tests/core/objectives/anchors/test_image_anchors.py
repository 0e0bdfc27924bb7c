"""Image anchors: the images of a folder or data set keep the features that the initial weights give them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from core.checkpoint.opening import open_network
from core.data.errors import DataError
from core.data.preprocessing import model_input
from core.model.eval_mode import evaluating
from core.objectives.anchors import image_anchors
from core.objectives.anchors.image_anchors import find_files
from core.spec.config import ConfigError, RunConfig, override
from core.spec.presets import preset_config
from core.spec.run.model_names import locate
from tests.core.objectives.anchors.expected_losses import check_losses
from tests.core.training.test_train_step import opened

CPU = torch.device("cpu")
IMAGES = 6


@pytest.fixture
def images(data: Path, tmp_path: Path) -> Path:
    """A folder of images without captions, one of which cannot be read."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number, file in enumerate(find_files(str(data), ignore)[:IMAGES]):
        shutil.copy(file, folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG")
    return folder


def ignore(*_: object) -> None:
    """No progress."""


def tuning(data: Path, base: Path, source: Path | str, weight: float = 3) -> RunConfig:
    common = [f"data.train={data}", f"towers.pretrained={base}", "optim.batch_size=12", "runtime.threads=1"]
    anchors = [f"weight={weight}", f"source={source}", "per_step=4"]
    anchored = [f"objectives.image_anchors.{setting}" for setting in anchors]
    return override(preset_config("clip", "tiny"), [*common, *anchored, "optim.learning_rate=0.01"])


def test_the_loss_is_the_distance_to_the_initial_features(data: Path, base: Path, images: Path, tmp_path: Path) -> None:
    """Of the readable images drawn in each step, encoded one by one."""
    initial, config = open_network(locate(str(base)), CPU), tuning(data, base, images)
    with opened(config, tmp_path / "run") as loop:
        files = [images / f"{number}.png" for number in range(IMAGES)]
        inputs = [model_input(file, loop.network.image_size, config.data)[None] for file in files]
        check_losses(loop, initial, "image_anchors", inputs)


def test_anchored_images_move_less(data: Path, base: Path, images: Path, tmp_path: Path) -> None:
    initial, moved = open_network(locate(str(base)), CPU), []
    for weight in (0, 30):
        with opened(tuning(data, base, images, weight), tmp_path / str(weight)) as loop:
            for batch in loop.parts.loader.batches(0, loop.total_steps):
                loop.train_step(batch)
            size, settings = loop.network.image_size, loop.config.data
            inputs = torch.stack([model_input(images / f"{number}.png", size, settings) for number in range(IMAGES)])
            with torch.no_grad(), evaluating(loop.network), evaluating(initial):
                difference = loop.network.encode_images(inputs) - initial.encode_images(inputs)
            moved.append(float(difference.square().sum(1).mean()))
    assert moved[1] < moved[0] / 2


def test_images_are_those_of_a_data_set_or_folder(data: Path, images: Path) -> None:
    assert len(find_files(str(data), ignore)) == len(data.read_text().splitlines()) - 1
    assert len(find_files(str(images), ignore)) == IMAGES + 1
    assert len(find_files("general", ignore)) > 100


def test_of_many_images_a_sample_is_used(
    data: Path, base: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_anchors, "MAX_IMAGES", 3)
    with opened(tuning(data, base, data), tmp_path / "run") as loop:
        (anchors,) = [objective for objective in loop.parts.objectives if objective.name == "image_anchors"]
        assert len(anchors.features) == 3


def test_unusable_images_are_refused(data: Path, base: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing"):
        find_files(str(tmp_path / "nothing"), ignore)
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "broken.png").write_bytes(b"\x89PNG")
    with (
        pytest.raises(DataError, match=r"No image of .*images can be read"),
        opened(tuning(data, base, folder), tmp_path / "run"),
    ):
        pass
    with pytest.raises(ConfigError, match="There are no images: choose some"):
        tuning(data, base, "")
