"""What a manifest claims of files that are not so; files that are pipes or links to elsewhere; bad records."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from core.checkpoint.opening import open_model
from core.search.collection import open_index
from core.search.errors import IndexFolderError
from core.search.index import acceleration as scan_module
from core.search.index.build import relocate
from core.search.index.files import FACTS, checksum_of
from core.search.index.manifest import read_manifest, write_manifest
from core.search.index.storage import IndexReader, IndexWriter, parse_record
from core.spec.config import override
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.spec.run.model_names import exact_name
from tests.core.search.index.hostile import claim, manifest_of, write_signed
from tests.core.search.samples import MODEL, alive, build, copy, files_of, quiet, write_images
from tests.mutations import feed, few_or_many, mutated, survives

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of lists a thousand times as long
DATA_FILES = ("images", "facts", "records", "texts")


def segment(**fields: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["segments"][0].update(fields)


def identity(**fields: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["identity"].update(fields)


def whole(**fields: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content.update(fields)


@pytest.mark.parametrize(
    "change",
    [
        segment(rows=-5),
        segment(record_bytes=2**70),
        segment(checksums=[1, 2, 3]),
        identity(dim=1 << 40),
        whole(removed=[[-3, 2]]),
        whole(removed=[[40, 2], [0, 1]]),
        whole(removed=[[0, 49]]),
        whole(generation="../../x"),
        whole(nearest={"files": {"a": "b"}}),
        whole(nearest={"images": []}),
    ],
)
def test_a_manifest_with_wrong_types_is_damaged(
    own: tuple[Path, Path], change: Callable[[dict[str, Any]], object]
) -> None:
    claim(own[1], change)
    before = files_of(own[1])
    for read in (lambda: IndexReader(own[1]), lambda: open_index(own[1], quiet), lambda: build(*own)):
        with pytest.raises(IndexFolderError, match=r"manifest\.json and its copy are damaged"):
            read()
    assert files_of(own[1]) == before


@pytest.mark.parametrize("change", [{"digest": "y" * 5000}, {"preprocessing": {"image_size": "y" * 5000}}])
def test_long_values_are_cut_in_the_message(own: tuple[Path, Path], change: dict[str, Any]) -> None:
    claim(own[1], identity(**change))
    with pytest.raises(IndexFolderError, match="was built with") as refused:
        open_index(own[1], quiet)
    assert len(str(refused.value)) < 1500


def test_a_claim_of_a_billion_rows_allocates_nothing(own: tuple[Path, Path]) -> None:
    """Nothing is extended or allocated for them; a search goes on without, a build drops them."""
    expected = alive(own[1])
    sizes = {name: len(content) for name, content in files_of(own[1]).items()}
    claim(
        own[1],
        lambda content: content["segments"].append(
            {"rows": 10**9, "texts": 10**9, "record_bytes": 10**11, "checksums": [0, 0, 0, 0]}
        ),
    )
    collection = open_index(own[1], quiet)
    assert len(collection.alive) == 48
    assert "1 of 2 segments of" in collection.notes[0]
    assert {name: len(content) for name, content in files_of(own[1]).items() if name.endswith(".bin")} == {
        name: size for name, size in sizes.items() if name.endswith(".bin")
    }
    log: list[str] = []
    report = build(*own, log=log)
    assert (report.images, report.added, report.unchanged) == (48, 0, 48)
    assert "1 of 2 segments" in log[0]
    assert alive(own[1]) == expected
    assert {name: len(content) for name, content in files_of(own[1]).items()} == sizes


def test_a_segment_claiming_a_billion_rows(own: tuple[Path, Path]) -> None:
    """All that the manifest names is beyond the files: nothing can be found, and a build makes all of it anew."""
    expected = alive(own[1])
    claim(own[1], segment(rows=10**9))
    with pytest.raises(IndexFolderError, match="is empty; add images"):
        open_index(own[1], quiet)
    assert sum(map(len, files_of(own[1]).values())) < 1 << 20
    assert build(*own).added == 48
    assert alive(own[1]) == expected


def test_truncated_files_lose_only_their_end(own: tuple[Path, Path]) -> None:
    """Also when the build that mends it is asked to relocate: that is refused, and nothing is changed."""
    file = own[1] / "images-0001.bin"
    file.write_bytes(file.read_bytes()[:-2])
    assert IndexReader(own[1]).lost == 1
    with pytest.raises(IndexFolderError, match="is damaged; run sdgui-core index without --relocate first"):
        relocate(own[1], str(own[0]), str(own[0]), quiet)
    with pytest.raises(IndexFolderError, match="are truncated; run sdgui-core index again"):
        IndexWriter(own[1]).prepare(manifest := read_manifest(own[1]))  # type: ignore[arg-type]
    assert manifest is not None
    assert build(*own).rebuilt == 48
    assert open_index(own[1], quiet).alive.sum() == 48


@pytest.mark.parametrize("name", ["manifest.json", *(f"{kind}-0001.bin" for kind in DATA_FILES)])
@pytest.mark.parametrize("sort", ["pipe", "link", "folder"])
def test_files_that_are_pipes_or_link_outside(own: tuple[Path, Path], tmp_path: Path, name: str, sort: str) -> None:
    """Neither waited for, nor followed out of the index: what lies there stays as it is."""
    outside = tmp_path / "outside.bin"
    (own[1] / name).replace(outside)
    (own[1] / "manifest.copy.json").unlink()
    content = outside.read_bytes()
    match sort:
        case "pipe":
            os.mkfifo(own[1] / name)
        case "link":
            (own[1] / name).symlink_to(outside)
        case _:
            (own[1] / name).mkdir()
    words = {"pipe": "is a named pipe, not a file", "link": "is a link out of", "folder": "is a folder, not a file"}
    for read in (lambda: open_index(own[1], quiet), lambda: build(*own)):
        with pytest.raises(IndexFolderError, match=words[sort]):
            read()
    assert outside.read_bytes() == content


@pytest.mark.parametrize("name", ["images-0001.bin", "manifest.json"])
def test_a_link_within_the_index_is_followed(own: tuple[Path, Path], name: str) -> None:
    (own[1] / name).replace(own[1] / "moved")
    (own[1] / name).symlink_to("moved")
    assert open_index(own[1], quiet).alive.sum() == 48


def test_a_pipe_in_place_of_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path / "images")
    sizes = scan_module.Sizes(small=0, scan=16)
    for module in ("core.search.index.build", "core.search.collection"):
        monkeypatch.setattr(f"{module}.layout", lambda rows, dim, _=None: scan_module.layout(rows, dim, sizes))
    make = scan_module.update_acceleration
    monkeypatch.setattr(
        "core.search.index.build.update_acceleration", lambda *args, trust=False: make(*args, sizes=sizes, trust=trust)
    )
    build(tmp_path / "images", tmp_path / "index")
    assert open_index(tmp_path / "index", quiet).search_method.startswith("exact scan")
    file = next((tmp_path / "index").glob("scan-*.faiss"))
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(IndexFolderError, match="is a named pipe"):
        open_index(tmp_path / "index", quiet)
    build(tmp_path / "images", tmp_path / "index")
    assert file.is_file()
    assert open_index(tmp_path / "index", quiet).alive.sum() == 48


def test_a_model_named_only_by_a_manifest_is_not_downloaded(
    own: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(*arguments: object, **_: object) -> None:
        asked.append(str(arguments))
        raise OSError("no network in this test")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    run = RunDir(tmp_path / "run")
    (run.checkpoints / "step-00000001").mkdir(parents=True)
    for file in ("checkpoint.json", "student.safetensors"):
        (run.checkpoints / "step-00000001" / file).write_text("{}")
    towers = ["towers.architecture=ViT-B-32", "towers.pretrained=openai"]
    run.config.write_text(override(preset_config("clip", "tiny"), towers).to_json())
    names = ("open_clip:ViT-B-32,openai", "open_clip:ViT-B-32,laion2b_e16", "open_clip:ViT-B-16-SigLIP,webli")
    for name in (*names, f"interpolated:{run.path}@0.5", f"interpolated:{run.path};open_clip:ViT-B-32,openai@0.5"):
        claim(own[1], identity(model=name))
        with pytest.raises(UserError, match="is not on this machine; to download it"):
            open_index(own[1], quiet)
    exact, _ = exact_name(f"interpolated:{run.path}@0.5")
    for name in (f"interpolated:{run.path}@0.5", exact):  # the name of the initial model is the config's
        with pytest.raises(UserError, match="open_clip:ViT-B-32,openai is not on this machine"):
            open_model(name)
    assert not asked


# What lies in the data files


def sign(folder: Path) -> None:
    """Give the manifest the checksums that the data files have."""
    found = read_manifest(folder)
    assert found is not None
    checksums = []
    for kind in DATA_FILES:
        with found.file(folder, kind).open("rb") as file:
            checksums.append(checksum_of(file, 0, found.file(folder, kind).stat().st_size))
    one, two, three, four = checksums
    segments = (replace(found.segments[0], checksums=(one, two, three, four)),)
    write_manifest(folder, replace(found, segments=segments))


@pytest.mark.parametrize(
    ("field", "value"), [("offset", 2**63), ("offset", 1 << 40), ("length", 2**32 - 1), ("length", 0), ("length", 7)]
)
def test_offsets_beyond_the_records(own: tuple[Path, Path], field: str, value: int) -> None:
    file = own[1] / "facts-0001.bin"
    facts = np.frombuffer(bytearray(file.read_bytes()), FACTS)
    facts[field][3] = value
    file.write_bytes(facts.tobytes())
    sign(own[1])
    with pytest.raises(IndexFolderError, match=r"the record of row 3 of the index .* is damaged"):
        IndexReader(own[1]).records(range(48))


def test_overlapping_or_out_of_range_captions_have_no_owner(own: tuple[Path, Path]) -> None:
    file = own[1] / "facts-0001.bin"
    facts = np.frombuffer(bytearray(file.read_bytes()), FACTS)
    facts["texts"][3], facts["first_text"][5], facts["first_text"][6] = 2**32 - 1, 2**63, 0
    file.write_bytes(facts.tobytes())
    sign(own[1])
    owner = IndexReader(own[1]).text_rows()
    assert [int(owner[i]) for i in (0, 3, 4, 5, 6, 47)] == [0, -1, 4, -1, -1, 47]


@pytest.mark.parametrize("where", ["images", "texts"])
def test_non_finite_vectors_are_refused(own: tuple[Path, Path], where: str) -> None:
    file = own[1] / f"{where}-0001.bin"
    vectors = np.frombuffer(bytearray(file.read_bytes()), "<f2")
    vectors[100] = np.nan
    file.write_bytes(vectors.tobytes())
    sign(own[1])
    with pytest.raises(IndexFolderError, match="contains values that are not finite; index the images again"):
        open_index(own[1], quiet)


@pytest.mark.parametrize(
    "line",
    [
        b"", b"[]", b'{"path": ""}', b'{"path": "a\\u0000b"}', b'{"path": "a", "captions": [5]}', b"[" * 100_000,
        b'{"path": ' + b"9" * 5000 + b"}", b'{"path": "\\ud800"}', b"\xff",
    ],
)  # fmt: skip
def test_a_line_that_is_not_a_record(line: bytes) -> None:
    with pytest.raises(IndexFolderError, match="a record is damaged; index into another folder"):
        parse_record(line)


RECORD = {"path": "/a/b.png", "captions": ["a dog", "a cat"], "labels": {"folder": "b"}, "reason": "it is broken"}


@few_or_many
def test_hostile_records(examples: int) -> None:
    feed(lambda content: survives(lambda: parse_record(content)), mutated(RECORD, line=True), examples)


@pytest.fixture(scope="module")
def shared(made: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index whose manifest each example replaces."""
    return copy(made[1], tmp_path_factory.mktemp("hostile") / "index")


SAMPLE: dict[str, Any] = {
    "identity": {
        "model": MODEL, "weights": "", "digest": "0" * 16, "preprocessing": {"image_size": 32, "mean": [0.5]},
        "dim": 64, "normalisation": "unit length",
    },
    "source": "/images", "generation": 1, "complete": True,
    "segments": [
        {"rows": 48, "texts": 48, "record_bytes": 3000, "checksums": [1, 2, 3, 4]},
        {"rows": 2, "texts": 1, "record_bytes": 90, "checksums": [5, 6, 7, 8]},
    ],
    "removed": [[0, 2], [7, 1]],
    "nearest": {"images": "exact", "texts": "exact", "files": {"scan-0001-images-0000000000.faiss": [9, 8]}},
    "version": 1,
}  # fmt: skip


def check_manifest(shared: Path, content: bytes, signed: bool) -> None:
    """As it is, or with the checksum that it has: read, opened, and prepared for writing."""
    before = {path.name: path.stat().st_size for path in shared.glob("*.bin")}
    for name in ("manifest.json", "manifest.copy.json"):
        (shared / name).write_bytes(content)
    if signed:
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            value.pop("checksum", None)
            write_signed(shared, value)

    def read() -> None:
        reader = IndexReader(shared)
        reader.check()
        reader.alive()
        reader.text_rows()
        reader.records(range(min(3, len(reader))))

    survives(read)
    assert {path.name: path.stat().st_size for path in shared.glob("*.bin")} == before


@few_or_many
def test_hostile_manifests(shared: Path, examples: int) -> None:
    big = json.dumps({**SAMPLE, "segments": [{**SAMPLE["segments"][0], "rows": 1 << 40}] * 1000}).encode()
    manifests = st.tuples(mutated(SAMPLE), st.booleans())
    feed(lambda case: check_manifest(shared, *case), manifests, examples, (big, True))


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        lambda: whole(removed=[[]] * 520_000),
        lambda: whole(segments=[{}] * 262_000),
        lambda: whole(removed=[[0.5] * 1_500_000]),
        lambda: whole(removed=[[2**40] * 3] * 390_000),
        lambda: whole(source="y" * 31_000_000),
        lambda: whole(source=["y" * 100] * 300_000),
        lambda: whole(nearest={"files": {str(i): 5 for i in range(520_000)}}),
        lambda: identity(preprocessing={f"{i}": i for i in range(520_000)}),
        lambda: segment(checksums=[{f"{i}": []} for i in range(260_000)]),
        lambda: segment(checksums=[1] * 1_500_000),
    ],
)
@pytest.mark.parametrize("signed", [True, False])
def test_the_largest_parsed_input_takes_less_than_a_second(
    shared: Path, change: Callable[[], Callable[[dict[str, Any]], object]], signed: bool
) -> None:
    content = deepcopy(SAMPLE)
    change()(content)  # made only where it is asked for: tens of megabytes each
    check_manifest(shared, json.dumps({"checksum": 1, **content}).encode(), signed)


def test_a_sample_of_the_real_manifest_is_read(own: tuple[Path, Path]) -> None:
    """What the examples begin with has the fields that a build writes."""
    assert manifest_of(own[1]).keys() == SAMPLE.keys()
    assert manifest_of(own[1])["identity"].keys() == SAMPLE["identity"].keys()
    write_signed(own[1], SAMPLE)
    found = read_manifest(own[1])
    assert found is not None
    assert (found.rows, found.removed) == (50, ((0, 2), (7, 1)))
