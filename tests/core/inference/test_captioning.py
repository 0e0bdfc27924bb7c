"""Captions as the panel and the terminal get them: streams, want of memory, models kept, settings, the worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from core.checkpoint.opening import open_model
from core.inference import caption_stream as stream
from core.inference.caption_stream import CaptionResult, caption_images, largest_batch
from core.inference.captioning import CaptionModel, open_caption_model, words
from core.inference.generation.captions import generate
from core.inference.images import ImageInput, find_images
from core.spec.config import DataConfig
from core.spec.errors import UserError
from core.spec.generation import GenerationSettings
from core.worker.captioning import CaptionSession
from tests.core.caption_models import CLIP, save_model
from tests.core.images import write_pairs
from tests.core.worker.test_server import Client

GREEDY = GenerationSettings(search="greedy", max_tokens=5, min_tokens=0)


def quiet(*_: object) -> None:
    """Progress that nobody watches."""


class Heard:
    """A Reporter that remembers."""

    def __init__(self) -> None:
        self.progress: list[tuple[str, int, int]] = []
        self.partials: list[dict[str, Any]] = []

    def __call__(self, doing: str, done: int, total: int, /) -> None:
        self.progress.append((doing, done, total))

    def partial(self, result: dict[str, Any]) -> None:
        self.partials.append(result)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captioning")
    save_model(folder / "coca")
    save_model(folder / "other", seed=1)
    save_model(folder / "clip", CLIP)
    write_pairs(folder / "pairs")
    return folder


@pytest.fixture(scope="module")
def opened_model(folder: Path) -> CaptionModel:
    return open_caption_model(str(folder / "coca"))


@pytest.fixture
def model(opened_model: CaptionModel) -> CaptionModel:
    opened_model.max_batch = None
    return opened_model


@pytest.fixture
def found(folder: Path) -> list[ImageInput]:
    return find_images([str(folder / "pairs")], quiet).inputs


def texts(made: list[CaptionResult]) -> dict[str, list[str]]:
    return {item.path: [caption["text"] for caption in item.captions] for item in made}


def test_each_image_is_yielded_once_with_the_captions_of_generate(
    folder: Path, model: CaptionModel, found: list[ImageInput]
) -> None:
    settings = model.settings({"search": "beam", "beams": 3, "max_tokens": 5}, captions=2)
    made = list(caption_images(model, found, settings, quiet, quiet))
    assert sorted(item.index for item in made) == list(range(48))
    towers = open_model(str(folder / "coca")).network.towers
    for item in made[:5]:
        source_image = stream.read_ahead([ImageInput(item.path)], 32, DataConfig(), 1)
        image = next(source_image).image
        source_image.close()
        assert image is not None
        expected = generate(towers.clip, towers.normalise(image[None]), settings)[0]
        assert [caption["text"] for caption in item.captions] == [words(towers, c.tokens) for c in expected]
        for caption, exact in zip(item.captions, expected, strict=True):
            assert caption["log_prob"] == pytest.approx(exact.log_probability, abs=1e-3)
            assert (caption["tokens"], caption["ended"]) == (len(exact.tokens), exact.ended)


def batches_of(model: CaptionModel, monkeypatch: pytest.MonkeyPatch, fits: int = 10**9) -> list[int]:
    """Remembers how many images go in at once; more than ``fits`` run out of memory, after one caption."""
    sizes: list[int] = []
    plain = CaptionModel.captions

    def captions(self: CaptionModel, source_images: torch.Tensor, *rest: Any) -> Iterator[Any]:
        sizes.append(len(source_images))
        for number, made in enumerate(plain(self, source_images, *rest)):
            if len(source_images) > fits and number == 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            yield made

    monkeypatch.setattr(CaptionModel, "captions", captions)
    return sizes


def test_batches_start_small(model: CaptionModel, found: list[ImageInput], monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = batches_of(model, monkeypatch)
    list(caption_images(model, found, GREEDY, quiet, quiet, batch=8))
    assert sizes == [1, 4, 8, 8, 8, 8, 8, 3]
    assert largest_batch(GREEDY) == 64
    assert largest_batch(GenerationSettings(beams=64)) == 4


def test_the_first_caption_comes_before_the_other_images_are_read(
    model: CaptionModel, found: list[ImageInput], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()

    def read(item: ImageInput, *rest: Any) -> Any:
        if item is not found[0]:
            assert gate.wait(120)
        return plain(item, *rest)

    plain = stream.read_ahead.__globals__["read_image"]
    monkeypatch.setitem(stream.read_ahead.__globals__, "read_image", read)
    made = caption_images(model, found, GREEDY, quiet, quiet)
    assert next(made).path == found[0].path
    gate.set()
    assert len(list(made)) == 47


def test_no_more_images_are_read_ahead_than_the_next_batch_needs(
    model: CaptionModel, found: list[ImageInput], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading competes with the caption that is under way for the processor."""
    read: list[str] = []
    plain, captions = stream.read_ahead.__globals__["read_image"], CaptionModel.captions
    before: list[int] = []

    def reading(item: ImageInput, *rest: Any) -> Any:
        read.append(item.path)
        return plain(item, *rest)

    def captioning(self: CaptionModel, *given: Any) -> Iterator[Any]:
        time.sleep(0.1)  # as long as it takes to read what may be read
        before.append(len(read))
        yield from captions(self, *given)

    monkeypatch.setitem(stream.read_ahead.__globals__, "read_image", reading)
    monkeypatch.setattr(CaptionModel, "captions", captioning)
    list(caption_images(model, found, GREEDY, quiet, quiet, batch=8))
    assert before[0] <= 1 + 4
    assert before[1] <= 5 + 16
    assert before[-1] == len(found)


def test_out_of_memory_reduces_the_batch_and_reports_it(
    model: CaptionModel, found: list[ImageInput], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = texts(list(caption_images(model, found, GREEDY, quiet, quiet)))
    sizes = batches_of(model, monkeypatch, fits=1)
    notes: list[str] = []
    made = list(caption_images(model, found, GREEDY, quiet, notes.append, batch=16))
    assert texts(made) == expected
    assert len(made) == 48  # those done before the memory ran out are not done again
    assert notes[0].startswith("not enough memory for")
    assert max(sizes[-4:]) <= 1
    assert len(notes) <= 4  # what does not fit is learnt once


def test_the_cpu_is_the_last_resort(
    model: CaptionModel, found: list[ImageInput], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU on which nothing fits, played by a model that claims not to be on the CPU."""
    plain = CaptionModel.captions
    moved: list[bool] = []

    def captions(self: CaptionModel, *rest: Any) -> Iterator[Any]:
        if not moved:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return plain(self, *rest)

    def move(self: CaptionModel) -> None:
        moved.append(True)
        self.max_batch = None

    expected = texts(list(caption_images(model, found, GREEDY, quiet, quiet)))
    monkeypatch.setattr(CaptionModel, "captions", captions)
    monkeypatch.setattr(CaptionModel, "on_cpu", property(lambda self: bool(moved)))
    monkeypatch.setattr(CaptionModel, "move_to_cpu", move)
    notes: list[str] = []
    assert texts(list(caption_images(model, found, GREEDY, quiet, notes.append))) == expected
    assert notes == ["not enough GPU memory for one image; continuing on the CPU, more slowly."]


def test_an_image_that_runs_out_of_cpu_memory_is_refused_and_the_rest_continues(
    model: CaptionModel, found: list[ImageInput], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = CaptionModel.captions
    failed: list[int] = []

    def captions(self: CaptionModel, source_images: torch.Tensor, *rest: Any) -> Iterator[Any]:
        if len(failed) < 2:
            failed.append(len(source_images))
            raise MemoryError
        return plain(self, source_images, *rest)

    monkeypatch.setattr(CaptionModel, "captions", captions)
    heard = Heard()
    made = list(caption_images(model, found[:4], GREEDY, heard, quiet))
    assert failed == [1, 3]
    assert heard.progress[-1] == ("captioning", 4, 4)
    refused = [item for item in made if item.error]
    assert [item.error for item in refused] == ["not enough memory to caption it"]
    assert len(made) == 4


@pytest.mark.parametrize("on_cpu", [False, True])
def test_running_out_of_memory_after_the_last_caption_of_a_batch_changes_nothing(
    model: CaptionModel, found: list[ImageInput], monkeypatch: pytest.MonkeyPatch, on_cpu: bool
) -> None:
    plain = CaptionModel.captions

    def captions(self: CaptionModel, *arguments: Any) -> Iterator[Any]:
        yield from plain(self, *arguments)
        raise MemoryError

    monkeypatch.setattr(CaptionModel, "captions", captions)
    monkeypatch.setattr(CaptionModel, "on_cpu", property(lambda self: on_cpu))
    made = list(caption_images(model, found[:5], GREEDY, quiet, pytest.fail))
    assert ([item.error for item in made], model.max_batch) == ([""] * 5, None)


def test_moving_to_the_cpu_leaves_a_usable_model(model: CaptionModel, found: list[ImageInput]) -> None:
    before = texts(list(caption_images(model, found[:3], GREEDY, quiet, quiet)))
    model.max_batch = 2
    model.move_to_cpu()
    assert model.on_cpu
    assert model.max_batch is None
    assert texts(list(caption_images(model, found[:3], GREEDY, quiet, quiet))) == before


def test_other_errors_are_not_taken_for_out_of_memory(
    model: CaptionModel, found: list[ImageInput], monkeypatch: pytest.MonkeyPatch
) -> None:
    def captions(self: CaptionModel, *rest: Any) -> Iterator[Any]:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(CaptionModel, "captions", captions)
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(caption_images(model, found, GREEDY, quiet, quiet))


def test_breaking_off_ends_the_reading_thread(model: CaptionModel, found: list[ImageInput]) -> None:
    class Enough(Exception):
        pass

    def stop(doing: str, done: int, total: int) -> None:
        if done >= 3:
            raise Enough

    made = caption_images(model, found, GREEDY, stop, quiet)
    with pytest.raises(Enough):
        list(made)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_defaults_fit_the_model(model: CaptionModel) -> None:
    cases: list[tuple[dict[str, Any], int | None, dict[str, Any]]] = [
        ({}, None, {"search": "beam", "beams": 6, "max_tokens": 14, "min_tokens": 1}),
        ({}, 9, {"captions": 9, "beams": 9}),
        ({"max_tokens": 3}, None, {"min_tokens": 1}),
        ({"min_tokens": 10}, None, {"max_tokens": 14}),
        ({"search": "sample"}, 3, {"captions": 3}),
    ]
    for fields, captions, expected in cases:
        settings = model.settings(fields, captions).model_dump()
        assert {name: settings[name] for name in expected} == expected


def test_all_unusable_settings_are_named(model: CaptionModel) -> None:
    with pytest.raises(UserError, match=r"temperature: .*-1.* beems: there is no such field"):
        model.settings({"temperature": -1, "beems": 3})
    with pytest.raises(UserError, match=r"settings: greedy search gives 1 caption, not 2; [^{]*\.$"):
        model.settings({"search": "greedy"}, captions=2)


def test_a_model_without_decoder_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"clip cannot caption: CLIP has no caption decoder; choose a CoCa"):
        CaptionSession().caption_open(Heard(), str(folder / "clip"))


def test_text_reads_naturally(folder: Path) -> None:
    towers = open_model(str(folder / "coca")).network.towers
    assert towers.normalises_blanks
    for text in (
        "a dog's nose, close up.",
        "medium-dark skin tone",
        "a t-shirt and/or a hat",
        "it's 3.5 kg!",
        "at 10:30 in 2024",
        "1st place (gold)",
        "nine o'clock",
        "2 dogs, 3 cats",
    ):
        row = towers.tokenize([text])[0].tolist()
        assert 49407 in row, "the context cuts it; choose a shorter text"
        assert words(towers, tuple(row[1 : row.index(49407)])) == text


def test_a_prompt_begins_each_caption(model: CaptionModel, found: list[ImageInput]) -> None:
    settings = model.settings({"search": "greedy", "prompt": "An image of", "max_tokens": 6})
    made = list(caption_images(model, found[:3], settings, quiet, quiet))
    assert all(item.captions[0]["text"].startswith("an image of ") for item in made)


def test_the_captioner_opens_captions_and_names_their_origin(folder: Path) -> None:
    desk, heard = CaptionSession(), Heard()
    opened = desk.caption_open(heard, str(folder / "coca"))
    assert opened["max_tokens"] == 14
    assert opened["image_size"] == 32
    answer = desk.caption(
        heard, str(folder / "coca"), [str(folder / "pairs"), "/no/such/file.png"], settings={"beams": 2}, n=2
    )
    assert heard.partials[0] == {"collected": 49, "skipped": 2}
    source_images = sorted(heard.partials[1:], key=lambda part: part["index"])
    assert source_images[-1] == {"index": 48, "path": "/no/such/file.png", "error": "the file does not exist"}
    assert set(source_images[0]) == {"index", "path", "captions"}
    assert set(source_images[0]["captions"][0]) == {"text", "log_prob", "score", "tokens", "ended"}
    assert all(part["captions"][0]["score"] >= part["captions"][-1]["score"] for part in source_images[:-1])
    assert (answer["captioned"], answer["failed"], answer["skipped"]) == (48, 1, 2)
    assert answer["provenance"]["digest"] == opened["digest"]
    assert answer["provenance"]["model"] == str(folder / "coca")
    assert answer["settings"]["beams"] == 2
    assert heard.progress[-1] == ("captioning", 49, 49)


def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Remembers what is loaded."""
    loaded: list[str] = []

    def opened(name: str, weights: str, progress: Any) -> CaptionModel:
        loaded.append(Path(name).name)
        return open_caption_model(name, weights)

    monkeypatch.setattr("core.worker.captioning.open_caption_model", opened)
    return loaded


def test_recently_used_models_are_kept_and_the_oldest_is_dropped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, desk = loads(monkeypatch), CaptionSession(capacity=2)
    save_model(folder / "third", seed=2)
    for name in ("coca", "other", "coca", "third", "coca", "other"):
        desk.caption_open(Heard(), str(folder / name))
    assert loaded == ["coca", "other", "third", "other"]
    assert desk.caption_close(Heard()) == {"closed": 2}
    desk.caption_open(Heard(), str(folder / "coca"))
    assert loaded[-1] == "coca"


def test_rewritten_weights_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, desk = loads(monkeypatch), CaptionSession()
    first = desk.caption_open(Heard(), str(save_model(tmp_path / "m")))["digest"]
    (tmp_path / "m" / "open_clip_model.safetensors").unlink()
    second = desk.caption_open(Heard(), str(save_model(tmp_path / "m", seed=5)))["digest"]
    assert loaded == ["m", "m"]
    assert first != second


def test_through_the_worker_and_cancelled(folder: Path) -> None:
    client = Client()
    try:
        client.send(id=1, do="caption", model=str(folder / "coca"), paths=[str(folder / "pairs")], n=1)
        parts = []
        while (reply := client.receive())["event"] in ("progress", "partial"):
            if reply["event"] == "partial":
                parts.append(reply["result"])
        assert reply["event"] == "done"
        assert reply["result"]["captioned"] == len(parts) - 1 == 48
        many = [str(folder / "pairs")] * 40  # 1,920 captions, had it its way
        client.send(id=2, do="caption", model=str(folder / "coca"), paths=many)
        while "index" not in (reply := client.receive()).get("result", {}):
            pass
        client.send(do="cancel", id=2)
        while (reply := client.receive())["event"] in ("progress", "partial"):
            pass
        assert (reply["event"], reply["message"]) == ("failed", "cancelled")
        assert client.ask("caption_open", model=str(folder / "clip"))["message"].endswith("choose a CoCa architecture.")
        assert client.ask("caption", model=str(folder / "coca"), paths="a.png")["message"].startswith("paths must be")
        client.send(do="shutdown")
    finally:
        client.end()
