"""What the real worker answers is what the window's verbs declare: neither may change without the other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.search import projection
from core.spec.config import override
from core.spec.run.folder import RunDir
from core.spec.run.weight_path import DEFAULT_STEPS, read_path
from core.training.train import train
from core.worker.captioning import CaptionSession
from core.worker.data.describing import describe_source
from core.worker.interpolating import InterpolationSession
from core.worker.noise import NoiseSession
from core.worker.searching import SearchSession
from sdgui.worker.map_verbs import SEARCH_MAP, SEARCH_POINTS
from sdgui.worker.verbs import (
    CAPTION,
    CAPTION_OPEN,
    DESCRIBE_SOURCE,
    INTERPOLATE,
    NOISE_OPEN,
    NOISE_SAVE,
    SEARCH_COMPARE,
    SEARCH_EVALUATE,
    SEARCH_FACETS,
    SEARCH_INDEX,
    SEARCH_OPEN,
    SEARCH_QUERY,
    SEARCH_RELOCATE,
    SEARCH_WHY,
    Verb,
)
from tests.core.images import write_pairs
from tests.core.variants import variant_config


class Heard:
    """A reporter that remembers the parts of an answer."""

    def __init__(self) -> None:
        self.parts: list[dict[str, Any]] = []

    def __call__(self, doing: str, done: int, total: int, /) -> None:
        pass

    def partial(self, result: dict[str, Any]) -> None:
        self.parts.append(result)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny run that captions and searches, and its held-out data."""
    folder = tmp_path_factory.mktemp("answers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDGUI_CACHE_DIR", str(folder / "cache"))
        pairs, held_out = write_pairs(folder / "pairs")
        fields = [f"data.train={pairs}", f"data.val={held_out}", "optim.batch_size=12", "optim.epochs=1"]
        train(override(variant_config("sd-coca-every-step"), fields), RunDir(folder / "run"), quiet=True)
    return folder / "run", held_out


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path / "cache"))


def fits(verb: Verb[Any], do: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any]:
    """The answer, which is checked with all its parts."""
    heard = Heard()
    answer = do(progress=heard, **arguments)
    assert verb.problem(answer) == ""
    for part in heard.parts:
        assert verb.problem(part, partial=True) == ""
    return answer


def test_search_answers_as_declared(run: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verbs, index = SearchSession().verbs, str(tmp_path / "index")
    fits(SEARCH_INDEX, verbs["search_index"], folder=index, source=str(run[1]), model=str(run[0]))
    keys = []
    for arguments in ({"model": str(run[0])}, {"index": index}):
        key = fits(SEARCH_OPEN, verbs["search_open"], **arguments)["key"]
        keys.append(key)
        fits(SEARCH_FACETS, verbs["search_facets"], key=key)
        for find in ("images", "captions"):
            answer = fits(SEARCH_QUERY, verbs["search_query"], key=key, texts="a red circle", find=find, k=5)
        fits(SEARCH_QUERY, verbs["search_query"], key=key, caption=0, k=5)
        fits(SEARCH_EVALUATE, verbs["search_evaluate"], key=key)
        fits(SEARCH_WHY, verbs["search_why"], key=key, path=answer["rows"][0]["path"], text="a red circle")
        fits(SEARCH_MAP, verbs["search_map"], key=key, shown=20, captions=True)
        monkeypatch.setattr(projection, "MAX_PLAIN", 3)
        fits(SEARCH_MAP, verbs["search_map"], key=key, shown=20, captions=True, packed=True)
        fits(SEARCH_POINTS, verbs["search_points"], key=key, rows=[0], texts=[0])
    fits(SEARCH_COMPARE, verbs["search_compare"], a=keys[0], b=keys[1], k=1)
    where = str(run[1].parent)
    fits(SEARCH_RELOCATE, verbs["search_relocate"], folder=index, old=where, new=where)


def test_captions_answer_as_declared(run: tuple[Path, Path], tmp_path: Path) -> None:
    verbs = CaptionSession().verbs
    model = str(run[0])
    fits(CAPTION_OPEN, verbs["caption_open"], model=model)
    image = next(path for path in run[1].parent.rglob("*.png"))
    (tmp_path / "no.png").write_text("none")
    fits(CAPTION, verbs["caption"], model=model, paths=[str(image), str(tmp_path / "no.png")])


def test_noise_and_data_answer_as_declared(run: tuple[Path, Path]) -> None:
    desk, data = NoiseSession(), str(run[1])
    ranking = fits(NOISE_OPEN, desk.open, model=f"{run[0]}@last", data=data)
    worst = ranking["list"][0]
    pairs = [[worst["path"], worst["caption"]]]
    fits(NOISE_SAVE, desk.save, data=data, excluded=[], to=str(run[1].parent / "clean.csv"), pairs=pairs)
    for images_only in (False, True):
        fits(DESCRIBE_SOURCE, describe_source, source=data, images_only=images_only)


def test_an_interpolation_answers_as_declared(run: tuple[Path, Path], tmp_path: Path) -> None:
    tuned = RunDir(shutil.copytree(run[0], tmp_path / "tuned"))
    settings = [f"towers.pretrained={run[0]}", f"data.val={run[1]}", f"data.retain=old={run[1]}"]
    tuned.config.write_text(override(variant_config("sd-coca-every-step"), settings).to_json())
    answer = fits(INTERPOLATE, InterpolationSession().interpolate, model=f"{tuned.path}@best", keep=0.9)
    path = read_path(tuned.path)
    assert path is not None
    assert (path.alpha, path.keep, len(path.points)) == (answer["alpha"], 0.9, DEFAULT_STEPS + 1)
