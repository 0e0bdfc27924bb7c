"""A disk that is full, at forty sizes: each verb, export and the store say so in a sentence, and nothing is lost.

A small file system in memory is mounted for each; where that is not allowed the tests skip by name.
"""

from __future__ import annotations

import contextlib
import functools
import io
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.__main__ import main
from core.checkpoint.opening import open_model
from core.data.derived.subset import save_subset
from core.evaluation import noise
from core.evaluation.noise import Ranking, rank_pairs
from core.search.collection import open_index
from core.search.index import encoding
from core.spec.caption_files import Candidate, CaptionedImage
from core.spec.config import override
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.training.train import train
from sdgui.panels.caption.export import export_coco, export_json_lines, export_sidecars, export_table, save_source
from sdgui.panels.runs.plots.export import save_csv
from sdgui.panels.runs.plots.series import Series
from sdgui.store.store import Store
from tests.core.caption_models import save_model
from tests.core.images import write_pairs
from tests.core.search.samples import MODEL, alive, build, write_images

pytestmark = pytest.mark.slow

KIB = 1 << 10
SIZES = [*range(16, 96, 4), *(round(96 * 1.26**i / 4) * 4 for i in range(20))]  # kB; the last ones are 7.8 MB
LARGE = 256 << 10  # kB: room for all
PRECIOUS = b"a user's own\n" * 100
counts: Counter[str] = Counter()

Small = Callable[[int], Path]
Said = pytest.CaptureFixture[str]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    """Mounts a file system of so many kB, or gives it another size; ends with the test."""
    place = tmp_path / "small"
    place.mkdir()

    def mount(kilobytes: int) -> Path:
        options = f"{'remount,' if place.is_mount() else ''}size={kilobytes}k"
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(place)]
        try:
            done = subprocess.run(command, capture_output=True, check=False)
        except FileNotFoundError:
            pytest.skip("there is no `mount` to make a small disk with")
        if done.returncode:
            pytest.skip("this user may not mount a small disk")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture(scope="module", autouse=True)
def _told() -> Iterator[None]:
    """How often what ended how, after the last one."""
    yield
    sys.__stderr__ and sys.__stderr__.write("\n" + "\n".join(f"{k}: {n}" for k, n in sorted(counts.items())) + "\n")


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run, images with many captions, an index of some, a CoCa; none is to be changed."""
    folder = tmp_path_factory.mktemp("things")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDGUI_CACHE_DIR", str(folder / "cache"))
        pairs, held_out = write_pairs(folder / "pairs")
        fields = [f"data.train={pairs}", f"data.val={held_out}", "optim.batch_size=12", "optim.epochs=1"]
        config = override(preset_config("sd-clip", "tiny"), [*fields, "runtime.threads=1"])
        (folder / "config.json").write_text(config.to_json(), encoding="utf-8")
        train(config, RunDir(folder / "run"), quiet=True)
    for path in write_images(folder / "some"):
        lines = [f"{path.parent.name} {path.stem} {line} {'long ' * 5}" for line in range(20)]
        path.with_suffix(".txt").write_text("\n".join(lines), encoding="utf-8")
    build(folder / "some", folder / "index")
    shutil.copytree(folder / "some", folder / "more")
    save_model(folder / "coca")
    return folder


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "open_model", _opened)


_opened = functools.cache(open_model)


def ends(what: str, arguments: list[str], said: Said) -> bool:
    """Whether a verb succeeded; else it has said so in a sentence, and nothing else came of it."""
    said.readouterr()
    status = main(arguments)
    text = said.readouterr().err
    assert "Traceback" not in text
    counts[f"{what}: {'done' if status == 0 else 'a sentence'}"] += 1
    if status:
        errors = [
            line for line in text.splitlines() if "No space left" in line or "is full" in line or "be full" in line
        ]
        assert errors, text
        assert "free some space" in text.lower()
    return status == 0


def refused(what: str, work: Callable[[], object]) -> bool:
    """The same of a function: whether it raised a sentence."""
    try:
        work()
    except (UserError, OSError) as error:  # a plot's export shows an OSError as it is
        counts[f"{what}: a sentence"] += 1
        sentence = isinstance(error, UserError) or "No space left" in str(error)
        if not sentence:
            raise
        return True
    counts[f"{what}: done"] += 1
    return False


def leftovers(folder: Path) -> list[str]:
    """Temporary files under ``folder``."""
    return [str(path) for path in folder.rglob("*") if ".tmp" in path.name or ".partial" in path.name]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("size", SIZES)
def test_index(size: int, things: Path, small: Small, capsys: Said) -> None:
    """Anew, and again once there is room."""
    disk = small(size)
    command = ["index", MODEL, str(things / "some"), str(disk / "index")]
    done = ends("index", command, capsys)
    assert leftovers(disk) == []
    if not done:
        small(LARGE)
        assert main(command) == 0
    assert open_index(disk / "index", lambda *_: None).alive.sum() == 48


@pytest.mark.parametrize("size", SIZES)
def test_an_index_that_grows(size: int, things: Path, small: Small, tmp_path: Path, capsys: Said) -> None:
    """What was found before is found after; with room the rest is added."""
    disk = small(LARGE)
    source = tmp_path / "images"
    shutil.copytree(things / "some", source)
    build(source, disk / "index")
    before = alive(disk / "index")
    used = sum(-(-path.stat().st_size // 4096) * 4 for path in (disk / "index").iterdir())
    for path in sorted(source.rglob("*.png"))[:16]:
        shutil.copy(path, path.with_name("again-" + path.name))
        path.with_name("again-" + path.stem + ".txt").write_text("many words\n" * 2, encoding="utf-8")
    small(used + size - 12)
    command = ["index", MODEL, str(source), str(disk / "index")]
    done = ends("index that grows", command, capsys)
    assert leftovers(disk) == []
    after = alive(disk / "index")
    assert before.items() <= after.items()
    if not done:
        small(LARGE)
        assert main(command) == 0
    assert len(alive(disk / "index")) == 64


@pytest.mark.parametrize("size", SIZES)
def test_caption_table(size: int, things: Path, small: Small, capsys: Said) -> None:
    """A new table ends with a whole line; one that was there before is as it was."""
    disk = small(size)
    command = ["caption", str(things / "coca"), str(things / "some"), "--top-k", "5", "--n", "4", "--max-length", "6"]
    done = ends("caption --csv", [*command, "--csv", str(disk / "new.csv")], capsys)
    if (disk / "new.csv").exists():
        assert (disk / "new.csv").read_bytes().endswith(b"\n")
        assert len((disk / "new.csv").read_text(encoding="utf-8").splitlines()) == 1 + 48 * 4 or not done
        (disk / "new.csv").unlink()
    (disk / "old.csv").write_bytes(PRECIOUS)
    done = ends("caption --csv --force", [*command, "--csv", str(disk / "old.csv"), "--force"], capsys)
    assert done or (disk / "old.csv").read_bytes() == PRECIOUS
    assert len(leftovers(disk)) <= (not done), "what was captioned is kept, and said"


@pytest.mark.parametrize("size", SIZES)
def test_caption_sidecars(size: int, things: Path, small: Small, capsys: Said) -> None:
    """Written whole or not at all; the images that have none are said."""
    disk = small(LARGE)
    for number, path in enumerate(sorted((things / "some").rglob("*.png"))):
        shutil.copy(path, disk / f"{number}.png")
    small(48 * 4 + size // 4)
    command = ["caption", str(things / "coca"), str(disk), "--greedy", "--max-length", "6", "--sidecars"]
    ends("caption --sidecars", command, capsys)
    assert leftovers(disk) == []
    assert all(path.read_bytes().endswith(b"\n") for path in disk.glob("*.txt"))


@pytest.fixture(scope="module")
def judged(things: Path) -> Ranking:
    """Many pairs, ranked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDGUI_CACHE_DIR", str(things / "cache"))
        found = rank_pairs(str(things / "run"), "", lambda *_: None)
    return replace(found, pairs=found.pairs * 400)


@pytest.mark.parametrize("size", SIZES)
def test_noise(
    size: int, things: Path, judged: Ranking, small: Small, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise, "rank_pairs", lambda *_: judged)
    disk = small(size)
    command = ["noise", str(things / "run"), "--csv"]
    if not ends("noise --csv", [*command, str(disk / "new.csv")], capsys):
        assert not (disk / "new.csv").exists()
    (disk / "new.csv").unlink(missing_ok=True)
    (disk / "old.csv").write_bytes(PRECIOUS)
    done = ends("noise --csv --force", [*command, str(disk / "old.csv"), "--force"], capsys)
    assert done or (disk / "old.csv").read_bytes() == PRECIOUS
    assert leftovers(disk) == []


@pytest.mark.parametrize("size", SIZES)
def test_results_redirected_to_a_file(size: int, things: Path, small: Small) -> None:
    """Of ``search --json`` and ``presets``: as a shell would, in a process of its own for every tenth size."""
    disk = small(size)
    (disk / "filler").write_bytes(b"x" * (size * KIB - 4096))
    command = ["search", str(things / "index"), "--text", "red", "--json", "-k", "48", "--no-groups"]
    said = io.StringIO()
    with (disk / "out.json").open("w") as out, contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        status = main(command)
        out.truncate(0)
    assert status == 1
    assert "cannot write the output: No space left on device; free some space and try again" in said.getvalue()
    counts["search --json: a sentence"] += 1
    if SIZES.index(size) % 10 == 0:
        (disk / "filler").write_bytes(b"x" * size * KIB)
        with (disk / "out.json").open("w") as out:
            done = subprocess.run(
                [sys.executable, "-m", "core", "presets", "sd-clip"], stdout=out, stderr=subprocess.PIPE, check=False
            )
        assert done.returncode == 1
        assert done.stderr.decode().startswith("error: cannot write the output: No space left on device")
        assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("size", SIZES)
def test_exports_of_the_window(size: int, things: Path, small: Small, tmp_path: Path) -> None:
    disk = small(size)
    old = disk / "old"
    old.write_bytes(PRECIOUS)
    paths = sorted((things / "some").rglob("*.png"))
    made = [
        CaptionedImage(str(path), [Candidate("a dog " * (1 + size % 50), -1.0, -1.0)] * 5, {"model": "m"})
        for path in paths
    ]

    def quiet(done: int, total: int) -> None:
        """Nobody watches."""

    steps = np.arange(2000.0)
    one = Series("loss")
    one.append(steps, steps, steps)
    exports: dict[str, Callable[[Path, bool], object]] = {
        "table": lambda path, force: export_table(made, path, quiet, force),
        "json lines": lambda path, force: export_json_lines(made, path, quiet, force),
        "coco": lambda path, force: export_coco(made, path, quiet, force),
        "plot's points": lambda path, _: save_csv([("loss", one)], str(path)),
    }
    for name, export in exports.items():
        path = disk / "new"
        if refused(f"export of {name}", functools.partial(export, path, False)):
            assert not path.exists(), name
        path.unlink(missing_ok=True)
        if refused(f"export of {name} over a file", functools.partial(export, old, True)):
            assert old.read_bytes() == PRECIOUS, name
        old.write_bytes(PRECIOUS)
    if refused("source of captions", lambda: save_source(made, disk / "source", quiet)):
        assert not (disk / "source").exists()
    assert old.read_bytes() == PRECIOUS
    assert leftovers(disk) == []
    shutil.rmtree(disk / "source", ignore_errors=True)
    for path in paths:
        with contextlib.suppress(OSError):
            shutil.copy(path, disk / f"{path.parent.name}-{path.name}")
    images = [replace(one, path=str(path)) for one, path in zip(made, sorted(disk.glob("*.png")), strict=False)]
    written = export_sidecars(images, quiet, force=False)
    counts[f"export of sidecars: {'some are refused' if written.skipped else 'done'}"] += 1
    assert leftovers(disk) == []
    assert all(path.read_bytes().endswith(b"\n") for path in disk.glob("*.txt"))


@pytest.mark.parametrize("size", SIZES)
def test_a_cleaned_manifest(size: int, small: Small) -> None:
    disk = small(LARGE)
    pairs, _ = write_pairs(disk / "pairs")
    text = pairs.read_text(encoding="utf-8").splitlines()
    rows = [f"{row} {number}" for row in text[1:] for number in range(min(size, 400))]
    pairs.write_text("\n".join([text[0], *rows]), encoding="utf-8")
    before = files(disk)
    used = sum(-(-path.stat().st_size // 4096) * 4 for path in disk.rglob("*") if path.is_file())
    small(used + 16)
    if refused(
        "manifest without noise", lambda: save_subset(str(pairs), disk / "pairs" / "clean.csv", lambda *_: None)
    ):
        assert files(disk) == before
    assert leftovers(disk) == []


@pytest.mark.parametrize("size", [*SIZES, 60 << 10, 130 << 10])
def test_train(size: int, things: Path, small: Small, capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the cache of images on the same disk; resumed, the losses are those of a run with room."""
    disk = small(size)
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(disk / "cache"))
    command = ["train", str(things / "config.json"), str(disk / "run")]
    done = ends("train", command, capsys)
    assert leftovers(disk) == []
    if not done and size % 5 == 0:
        small(LARGE)
        assert main(command) == 0
        assert losses(disk / "run") == losses(things / "run")


def losses(run: Path) -> dict[int, float]:
    """The last that is said of each step."""
    from core.spec.run.events import EventReader, Metrics  # noqa: PLC0415

    events = EventReader(RunDir(run).events).read_all()
    return {
        one.step: one.values["train/loss"] for one in events if isinstance(one, Metrics) if "train/loss" in one.values
    }


@pytest.mark.parametrize("size", SIZES)
def test_store(size: int, small: Small) -> None:
    """All that was said to be added is there, and with room it goes on."""
    disk = small(size)
    config = preset_config("sd-clip", "tiny")
    added: list[str] = []
    opened = None
    try:
        opened = Store.open(disk / "home")
        for number in range(1200):
            opened.add_experiment(config, f"experiment {number}")
            added.append(f"experiment {number}")
        counts["store: done"] += 1
    except UserError:
        counts["store: a sentence"] += 1
    finally:
        if opened is not None:
            opened.close()
    assert leftovers(disk) == []
    small(LARGE)
    store = Store.open(disk / "home")
    assert [one.name for one in store.experiments()] in (added, added[::-1])
    store.add_experiment(config, "one more")
    store.close()
