"""Features kept on disk: encoded once, gone on with after a break, made anew when damaged or of other data."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from core.checkpoint.opening import Model, open_model
from core.data.dataset import PairDataset
from core.inference import extraction
from core.inference.encoder import PROJECTED, UNPROJECTED, check_layer, encode_layers
from core.inference.extraction import extract_layers, extract_texts
from core.inference.feature_cache import FeatureFolder, Part, prune
from core.inference.labelled import open_images
from core.spec.errors import UserError
from tests.core.labelled import read, write, write_labelled


@pytest.fixture(scope="module")
def model() -> Model:
    return replace(open_model("open_clip:sd-tiny"), batch=5)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(extraction, "PART_ROWS", 10)
    return write_labelled(tmp_path / "pairs")[0]


class Counted:
    """Counts images as they are encoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.images = 0
        monkeypatch.setattr(extraction, "encode_layers", self._encode)

    def _encode(self, network: Any, images: torch.Tensor, *rest: Any) -> dict[str, torch.Tensor]:
        self.images += len(images)
        return encode_layers(network, images, *rest)


def opened(model: Model, data: Path) -> PairDataset:
    return open_images(model, str(data), quiet, quiet)


def quiet(*_: object) -> None:
    pass


def test_images_are_encoded_once_for_all_layers(model: Model, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    first = extract_layers(model, opened(model, data), [UNPROJECTED, PROJECTED, "block 1"], quiet)
    assert counted.images == 36
    again = extract_layers(model, opened(model, data), [PROJECTED], quiet)
    assert counted.images == 36
    assert torch.equal(again.values[PROJECTED], first.values[PROJECTED])
    extract_layers(model, opened(model, data), ["block 1", "block 2"], quiet)
    assert counted.images == 72, "block 2 alone was missing"
    projection = model.network.towers.clip.visual.proj.detach()
    projected = torch.nn.functional.normalize(first.values[UNPROJECTED] @ projection, dim=1)
    assert torch.allclose(projected, first.values[PROJECTED], atol=1e-5)


def test_the_normalised_last_block_is_the_input_of_the_projection(model: Model, data: Path) -> None:
    visual = model.network.towers.clip.visual
    last = f"block {len(visual.transformer.resblocks)}"
    found = extract_layers(model, opened(model, data), [UNPROJECTED, last], quiet)
    assert torch.allclose(visual.ln_post(found.values[last]).detach(), found.values[UNPROJECTED], atol=1e-4)


def test_a_cancelled_extraction_resumes_where_it_stopped(
    model: Model, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = extract_layers(model, opened(model, data), [PROJECTED], quiet).values[PROJECTED]
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(data.parent / "other"))
    counted = Counted(monkeypatch)

    class Stop(Exception):
        pass

    def stop(doing: str, done: int, total: int) -> None:
        if doing == "encoding images" and done >= 15:
            raise Stop

    with pytest.raises(Stop):
        extract_layers(model, opened(model, data), [PROJECTED], stop)
    assert counted.images == 15
    heard: list[int] = []
    found = extract_layers(model, opened(model, data), [PROJECTED], lambda _, done, total: heard.append(done))
    assert counted.images == 36, "what was encoded is not encoded again"
    assert torch.allclose(found.values[PROJECTED], whole, atol=1e-6)
    assert found.rows.tolist() == list(range(36))


def test_changed_weights_or_images_are_encoded_again(model: Model, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    extract_layers(model, opened(model, data), [PROJECTED], quiet)
    (data.parent / read(data)[0][0]).touch()
    extract_layers(model, opened(model, data), [PROJECTED], quiet)
    assert counted.images == 72
    other = replace(open_model("open_clip:sd-tiny"), batch=5)
    with torch.no_grad():
        other.network.towers.clip.visual.proj.mul_(2)
    extract_layers(other, opened(model, data), [PROJECTED], quiet)
    assert counted.images == 108
    decoded = opened(model, data)
    decoded.decoding = replace(decoded.decoding, shorter_side=2 * decoded.decoding.shorter_side)
    extract_layers(model, decoded, [PROJECTED], quiet)
    assert counted.images == 144, "images that are decoded in another way are others"


def test_unreadable_images_are_remembered_with_their_reasons(
    model: Model, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, *_ in read(data)[3:8]:
        (data.parent / name).write_bytes(b"no image")
    first = opened(model, data)
    found = extract_layers(model, first, [PROJECTED], quiet)
    assert found.rows.tolist() == [*range(3), *range(8, 36)]
    counted = Counted(monkeypatch)
    again = opened(model, data)
    assert torch.equal(extract_layers(model, again, [PROJECTED], quiet).rows, found.rows)
    assert counted.images == 0
    assert again.broken == first.broken
    assert "supported format" in again.broken[3]


def test_features_with_a_system_error_are_not_kept(model: Model, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused, open_file = str(data.parent / read(data)[15][0]), os.open

    def refuse(path: str | Path, *given: int) -> int:
        if str(path) == refused:
            raise OSError(errno.EMFILE, "Too many open files", refused)
        return open_file(path, *given)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        missing = extract_layers(model, opened(model, data), [PROJECTED], quiet)
        assert missing.rows.tolist() == [row for row in range(36) if row != 15]
    found = extract_layers(model, opened(model, data), [PROJECTED], quiet)
    assert found.rows.tolist() == list(range(36))


def test_a_folder_of_broken_images_alone_is_refused(model: Model, data: Path) -> None:
    table = read(data)[:4]
    for name, *_ in table:
        (data.parent / name).write_bytes(b"")
    bad = write(data.with_name("bad.csv"), [["filepath", "title", "colour", "shape"], *table])
    with pytest.raises(UserError, match="None of the 4 rows"):
        extract_layers(model, opened(model, bad), [PROJECTED], quiet)


def test_a_damaged_part_is_encoded_again(model: Model, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    first = extract_layers(model, opened(model, data), [PROJECTED], quiet).values[PROJECTED]
    parts = sorted((data.parents[1] / "cache" / "features").glob("*/*.safetensors"))
    assert [part.name for part in parts] == [
        f"{a:09d}-{b:09d}.safetensors" for a, b in ((0, 10), (10, 20), (20, 30), (30, 36))
    ]
    parts[2].write_bytes(parts[2].read_bytes()[:-8])
    again = extract_layers(model, opened(model, data), [PROJECTED], quiet).values[PROJECTED]
    assert counted.images == 36 + 16, "from the damaged part on"
    assert torch.allclose(again, first, atol=1e-6)


def test_an_unwritable_cache_changes_no_number(model: Model, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = extract_layers(model, opened(model, data), [PROJECTED], quiet).values[PROJECTED]
    blocked = data.parent / "blocked"
    blocked.write_text("a file where a folder should be")
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(blocked))
    again = extract_layers(model, opened(model, data), [PROJECTED], quiet).values[PROJECTED]
    assert torch.allclose(again, first, atol=1e-6)


def test_captions_are_encoded_once(model: Model, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captions = [f"caption {number}" for number in range(23)]
    tokens = model.network.towers.tokenize(captions)
    first = extract_texts(model, tokens, captions, quiet)
    monkeypatch.setattr(extraction, "encode_tokens", None)
    assert torch.equal(extract_texts(model, tokens, captions, quiet), first)
    expected = torch.nn.functional.normalize(model.network.encode_texts(tokens).detach(), dim=1)
    assert torch.allclose(first, expected, atol=1e-5)


def test_captions_encoded_before_a_cancellation_are_kept(model: Model, data: Path) -> None:
    captions = [f"caption {number}" for number in range(23)]
    tokens = model.network.towers.tokenize(captions)
    counts: list[int] = []

    def cancel(_activity: str, finished: int, _total: int) -> None:
        counts.append(finished)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_texts(model, tokens, captions, cancel)
    extract_texts(model, tokens, captions, lambda _activity, finished, _total: counts.append(finished))
    assert counts[1] > counts[0], "it continues after the first batch"


def test_the_least_recently_used_features_go_first(tmp_path: Path) -> None:
    values = torch.zeros(100, 10)
    for age, key in enumerate(("new", "old", "older")):
        folder = FeatureFolder(key, tmp_path)
        folder.append(Part(0, 100, torch.arange(100), values))
        os.utime(folder.path, (1_000_000 - age, 1_000_000 - age))
    size = sum(file.stat().st_size for file in (tmp_path / "new").iterdir())
    prune([tmp_path / "older"], tmp_path, limit=2 * size)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "older"]


def test_an_unknown_layer_names_the_existing_ones(model: Model) -> None:
    assert check_layer(model.network, "2") == "block 2"
    with pytest.raises(UserError, match=r"no layer 'block 9'.*or a block, 1 to 2"):
        check_layer(model.network, "block 9")
