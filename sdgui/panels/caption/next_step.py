"""The next step: an experiment that trains on the captions, or the demo if no captioning model exists."""

from __future__ import annotations

from pathlib import Path

from core.spec.config import ConfigError, RunConfig, override, read_config
from core.spec.presets import preset_config
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.shared.services import Services
from sdgui.store.store import Store

DEMO = "sd-coca demo"
_TITLE = "Caption your images"
CHOOSE_IMAGES_STEP = (  # title, text, button, shortcut
    _TITLE,
    "Drop images or folders here from the file manager or a browser, or paste them (Ctrl+V). Captions "
    "appear one by one; edit, compare and export them, or train on them.",
    "Choose images…",
    "Ctrl+Shift+A",
)
TRAIN_DEMO_STEP = (
    _TITLE,
    "This panel captions your images with a captioning model. Choose one above, or train the demo: sd-coca learns to "
    "name emoji in a few minutes.",
    "Train the sd-coca demo",
)
_MIN_IMAGES_FOR_BASE = 20_000  # with fewer images, the preset's demo size is used


def training_config(store: Store, choice: ModelChoice | None, table: Path, images: int) -> RunConfig:
    """A config that trains on a saved ``table``, based on the config of the captioning run or on the preset sd-coca.

    ``images``: their number. Raises StoreError if the run was deleted.
    """
    base: RunConfig | None = None
    if choice is not None and choice.run_id is not None:
        try:
            base = read_config(store.run(choice.run_id).dir.config)
        except ConfigError:
            base = None  # a config file edited by hand may be invalid: use the preset
    if base is None:
        base = preset_config("sd-coca", "base" if images >= _MIN_IMAGES_FOR_BASE else "demo")
    data = base.data.model_copy(update={"train": str(table)})
    return base.model_copy(update={"data": data, "name": f"{base.name} on edited captions"})


def demo_config(services: Services) -> RunConfig | None:
    """The config of the demo's captioning experiment; None if the store already has the experiment."""
    if any(experiment.name == DEMO for experiment in services.store.experiments()):
        return None
    folder = services.demo.folder
    data = [f"data.{split}={folder / split}.csv" for split in ("train", "val", "test")]
    return override(preset_config("sd-coca", "demo"), [*data, f"name={DEMO}"])
