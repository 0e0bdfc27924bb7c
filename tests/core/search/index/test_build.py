"""Indexes of real images: made, brought up to date, mended, moved, refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.checkpoint.opening import open_model
from core.data.errors import DataError
from core.data.views.making import centre_view
from core.inference.encoder import encode_images, encode_texts
from core.search import evaluation
from core.search.collection import open_index
from core.search.errors import IndexFolderError
from core.search.index import acceleration, encoding, storage
from core.search.index import build as build_module
from core.search.index.build import build_index, relocate
from core.search.index.source_changes import Scan, scan
from core.search.index.storage import IndexReader, IndexWriter
from core.search.queries import Query, Term
from core.search.results import Options, Searcher
from core.spec.shards import member_path
from tests.core.search.samples import MODEL, alive, build, files_of, quiet, write_images


def test_vectors_match_the_encoder(made: tuple[Path, Path]) -> None:
    model = open_model(MODEL)
    reader = IndexReader(made[1])
    encoder = encoding.Encoder(model, MODEL)
    assert reader.alive().sum() == 48
    for row, record in enumerate(reader.records(range(48))):
        source_image = centre_view(encoder.image(record.path), model.network.image_size)
        image = encode_images(model.network, source_image[None], model.runtime)[0]
        text = encode_texts(model.network, record.captions, model.runtime)[0]
        assert torch.allclose(torch.from_numpy(np.array(reader.images[row])).float(), image, atol=1e-3)
        assert torch.allclose(torch.from_numpy(np.array(reader.texts[row])).float(), text, atol=1e-3)
        assert record.labels == {"folder": Path(record.path).parent.name}


def test_a_second_build_encodes_nothing(own: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "open_model", lambda *_: pytest.fail("the model was loaded"))
    before = files_of(own[1])
    report = build(*own)
    assert (report.added, report.changed, report.removed, report.unchanged) == (0, 0, 0, 48)
    assert files_of(own[1]) == before


def test_an_unchanged_index_does_not_load_torch(own: tuple[Path, Path]) -> None:
    """Loading it takes longer than looking through a hundred thousand files."""
    program = "import sys; from core.__main__ import main; sys.exit(main(sys.argv[1:]) or 'torch' in sys.modules)"
    command = [sys.executable, "-c", program, "index", MODEL, str(own[0]), str(own[1])]
    before = files_of(own[1])
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    assert files_of(own[1]) == before


def test_only_changes_are_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write_images(tmp_path / "images")
    build(tmp_path / "images", tmp_path / "index")
    paths[0].unlink()
    paths[1].write_bytes(paths[2].read_bytes())
    paths[3].with_suffix(".txt").write_text("another caption\n", encoding="utf-8")
    (tmp_path / "images" / "new.png").write_bytes(paths[4].read_bytes())
    asked: list[str] = []
    original = encoding.Encoder.entries

    def entries(self: encoding.Encoder, found: list[encoding.SourceImage]) -> object:
        asked.extend(one.path for one in found)
        return original(self, found)

    monkeypatch.setattr(encoding.Encoder, "entries", entries)
    report = build(tmp_path / "images", tmp_path / "index")
    assert (report.added, report.changed, report.removed, report.unchanged) == (1, 2, 1, 45)
    assert sorted(asked) == sorted(map(str, (paths[1], paths[3], tmp_path / "images" / "new.png")))
    found = alive(tmp_path / "index")
    assert set(found) == {str(path) for path in (tmp_path / "images").rglob("*.png")}
    assert found[str(paths[3])].captions == ("another caption",)


def test_non_images_are_listed_and_not_tried_again_even_in_rewritten_files(tmp_path: Path) -> None:
    paths = write_images(tmp_path / "images", captions=False)
    paths[47].write_bytes(b"no image")
    report = build(tmp_path / "images", tmp_path / "index")
    assert report.images == 47
    assert [row.location for row in report.bad] == [str(paths[47])]
    reader = IndexReader(tmp_path / "index")  # goes on with what it opened
    (note,) = open_index(tmp_path / "index", quiet).notes
    assert note.startswith(f"1 of 48 images cannot be read and are not searched, such as {paths[47]}: ")
    for path in paths[:20]:
        path.unlink()
    report = build(tmp_path / "images", tmp_path / "index")
    assert (report.removed, report.unchanged, report.images) == (20, 28, 27)
    manifest = IndexReader(tmp_path / "index").manifest
    assert (manifest.rows, manifest.removed, manifest.generation) == (28, (), 2)
    assert set(alive(tmp_path / "index")) == set(map(str, paths[20:47]))
    assert np.array(reader.images[46]).any()
    again = build(tmp_path / "images", tmp_path / "index")
    assert (again.unchanged, again.added) == (28, 0), "it is not tried again"
    assert [row.location for row in again.bad] == [str(paths[47])]


def test_captions_of_removed_images_are_neither_found_nor_ranked(tmp_path: Path) -> None:
    paths = write_images(tmp_path / "images")
    build(tmp_path / "images", tmp_path / "index")
    gone = f"a {paths[5].parent.name} {paths[5].stem.replace('-', ' of size ')}"
    paths[5].unlink()
    report = build(tmp_path / "images", tmp_path / "index")
    assert (report.images, report.captions) == (47, 47)
    collection = open_index(tmp_path / "index", quiet)
    assert len(collection.owner) == 48, "its row is still in the files"
    found = Searcher(collection).search(Query((Term(text=gone),)), Options(k=48, find="captions"))
    captions = [row["caption"] for row in found["rows"]]
    assert len(captions) == found["searched"] == 47
    assert gone not in captions
    ranked = evaluation.rank_all(collection, quiet)
    assert len(ranked.texts) == 47
    assert evaluation.evaluate(collection, ranked)["queries"]["text_to_image"] == 47


@pytest.mark.parametrize("kind", ["images", "facts", "records", "texts"])
@pytest.mark.parametrize("harm", ["flip", "cut"])
def test_damage_is_detected_and_repaired(
    made: tuple[Path, Path], tmp_path: Path, kind: str, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_module, "SEGMENT_ROWS", 16)
    monkeypatch.setattr(encoding, "BATCH", 16)
    build(made[0], tmp_path / "index")
    expected = alive(tmp_path / "index")
    file = tmp_path / "index" / f"{kind}-0001.bin"
    content = bytearray(file.read_bytes())
    if harm == "flip":
        content[len(content) // 2] ^= 64
    else:
        del content[len(content) * 3 // 4 :]
    file.write_bytes(content)
    collection = open_index(tmp_path / "index", quiet)
    assert collection.alive.sum() == 32
    assert "damaged" in collection.notes[0]
    log: list[str] = []
    report = build(made[0], tmp_path / "index", log)
    assert (report.rebuilt, report.images, report.added) == (16, 48, 16)
    assert "1 of 3 segments" in log[0]
    assert alive(tmp_path / "index") == expected
    assert open_index(tmp_path / "index", quiet).notes == ()


def test_a_damaged_manifest_has_a_copy(own: tuple[Path, Path]) -> None:
    (own[1] / "manifest.json").write_text("{", encoding="utf-8")
    assert len(alive(own[1])) == 48
    (own[1] / "manifest.copy.json").write_bytes(b"")
    with pytest.raises(IndexFolderError, match="and its copy are damaged; index into another folder"):
        IndexReader(own[1])


def test_a_changed_manifest_fails_its_checksum(own: tuple[Path, Path]) -> None:
    content = json.loads((own[1] / "manifest.json").read_bytes())
    content["source"] = "/elsewhere"
    (own[1] / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    assert IndexReader(own[1]).manifest.source == str(own[0])


def test_an_interrupted_build_resumes_to_the_same_bytes(
    made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended at each possible commit, also with files half written behind it."""
    monkeypatch.setattr(build_module, "SEGMENT_ROWS", 16)
    monkeypatch.setattr(encoding, "BATCH", 16)
    build(made[0], tmp_path / "whole")
    expected = files_of(tmp_path / "whole")
    original = storage.IndexWriter.commit

    class EndedError(Exception):
        pass

    for ends in range(4):
        left = [ends]

        def commit(self: IndexWriter, manifest: storage.Manifest, left: list[int] = left) -> storage.Manifest:
            if not left[0]:
                raise EndedError
            left[0] -= 1
            return original(self, manifest)

        folder = tmp_path / f"ended-{ends}"
        monkeypatch.setattr(storage.IndexWriter, "commit", commit)
        with pytest.raises(EndedError):
            build(made[0], folder)
        monkeypatch.setattr(storage.IndexWriter, "commit", original)
        if ends:  # a reader sees whole segments
            assert len(alive(folder)) == min(48, 16 * ends)
        build(made[0], folder)
        assert files_of(folder) == expected


@pytest.mark.slow
def test_killed_at_random(made: tuple[Path, Path], tmp_path: Path) -> None:
    build(made[0], tmp_path / "whole")
    command = [sys.executable, "-m", "core", "index", MODEL, str(made[0]), str(tmp_path / "killed")]
    for share in (0.5, 0.8, 0.9, 0.95, 1.0):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(8 * share)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    assert subprocess.run(command, check=False).returncode == 0
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


def test_the_number_of_threads_changes_no_bit(
    made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "usable_cores", lambda: 7)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        build(made[0], tmp_path / "index")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert files_of(tmp_path / "index") == files_of(made[1])


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no CPU affinity")
def test_only_cores_that_the_process_may_use_get_a_thread(
    made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 5, 7})
    numbers: list[int] = []

    def pool(threads: int, *rest: Any) -> ThreadPoolExecutor:
        numbers.append(threads)
        return ThreadPoolExecutor(threads, *rest)

    monkeypatch.setattr(encoding, "ThreadPoolExecutor", pool)
    build(made[0], tmp_path / "index")
    assert numbers == [3]


def test_one_process_writes_while_others_read(own: tuple[Path, Path]) -> None:
    writer = IndexWriter(own[1])
    try:
        with pytest.raises(IndexFolderError, match="is being written by another process; wait until it is done"):
            build(*own)
        assert len(alive(own[1])) == 48
    finally:
        writer.close()
    assert build(*own).unchanged == 48


def test_readers_see_only_consistent_states_during_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "SEGMENT_ROWS", 8)
    monkeypatch.setattr(encoding, "BATCH", 8)
    paths = set(map(str, write_images(tmp_path / "images")))
    seen: list[int] = []
    ended = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        while not ended.is_set():
            try:
                found = alive(tmp_path / "index")
                assert set(found) <= paths
                seen.append(len(found))
            except IndexFolderError as error:
                if "there is no index" not in str(error):
                    failures.append(error)
            except BaseException as error:  # noqa: BLE001
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    build(tmp_path / "images", tmp_path / "index")
    ended.set()
    reader.join()
    assert not failures
    assert seen == sorted(seen)
    assert all(count % 8 == 0 for count in seen)


def test_moved_images(tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    build(tmp_path / "images", tmp_path / "index")
    (tmp_path / "images").rename(tmp_path / "moved")
    with pytest.raises(IndexFolderError, match="does not exist; if it is on a network drive"):
        build(tmp_path / "images", tmp_path / "index")
    with pytest.raises(IndexFolderError, match="--relocate"):
        build(tmp_path / "moved", tmp_path / "index")
    with pytest.raises(IndexFolderError, match=r"no image of the index .* is under .*nowhere, but under folders"):
        relocate(tmp_path / "index", str(tmp_path / "nowhere"), str(tmp_path), quiet)
    vectors = np.array(IndexReader(tmp_path / "index").images)
    assert relocate(tmp_path / "index", str(tmp_path / "images"), str(tmp_path / "moved"), quiet) == 48
    assert not list((tmp_path / "index").glob("*-0001.bin")), "the files of before take no room"
    assert (np.array(IndexReader(tmp_path / "index").images) == vectors).all()
    assert set(alive(tmp_path / "index")) == set(map(str, (tmp_path / "moved").rglob("*.png")))
    assert build(tmp_path / "moved", tmp_path / "index").unchanged == 48


def test_an_empty_mount_point_does_not_clear_the_index(tmp_path: Path) -> None:
    paths = write_images(tmp_path / "images", captions=False)
    build(tmp_path / "images", tmp_path / "index")
    for path in paths:
        path.unlink()
    with pytest.raises(IndexFolderError, match=r"none of the 48 images .* is in .*The index is unchanged"):
        build(tmp_path / "images", tmp_path / "index")
    assert len(alive(tmp_path / "index")) == 48
    assert build(tmp_path / "images", tmp_path / "index", drop_missing=True).removed == 48
    with pytest.raises(IndexFolderError, match="is empty; add images"):
        open_index(tmp_path / "index", quiet)


def test_a_folder_that_disappears_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "SEGMENT_ROWS", 16)
    monkeypatch.setattr(encoding, "BATCH", 16)
    monkeypatch.setattr(encoding, "usable_cores", lambda: 1)
    write_images(tmp_path / "images", captions=False)

    def progress(doing: str, done: int, total: int) -> None:
        if done == 16:
            (tmp_path / "images").rename(tmp_path / "away")

    with pytest.raises(IndexFolderError, match="while images were encoded"):
        build_index(MODEL, str(tmp_path / "images"), tmp_path / "index", progress, lambda text: None)
    safe = len(alive(tmp_path / "index"))
    assert 16 <= safe < 48
    (tmp_path / "away").rename(tmp_path / "images")
    assert build(tmp_path / "images", tmp_path / "index").unchanged == safe
    assert len(alive(tmp_path / "index")) == 48


def test_unreadable_images_of_a_shard_do_not_mean_a_missing_disk(tmp_path: Path) -> None:
    tar = tmp_path / "shards" / "0.tar"
    tar.parent.mkdir()
    tar.touch()
    record = storage.Record(member_path(tar, 512, 100, "0.png"), reason="it cannot be opened: Input/output error")
    batch = [storage.Entry(record, 100, 0, None, state=storage.RETRY_LATER)]
    build_module._check_images_exist(batch, Scan(str(tar), []), tmp_path / "index")
    tar.unlink()
    with pytest.raises(IndexFolderError, match="no longer exists: it was moved or deleted"):
        build_module._check_images_exist(batch, Scan(str(tar), []), tmp_path / "index")


def test_a_manifest_is_a_source_and_its_folders_may_be_missing(tmp_path: Path) -> None:
    paths = write_images(tmp_path / "images", captions=False)
    lines = ["filepath,title,kind", *(f"{path},{path.stem},x" for path in paths)]
    (tmp_path / "pairs.csv").write_text("\n".join(lines), encoding="utf-8")
    report = build(tmp_path / "pairs.csv", tmp_path / "index")
    assert (report.images, report.captions) == (48, 48)
    assert alive(tmp_path / "index")[str(paths[0])].labels == {"kind": "x"}
    (tmp_path / "images" / "red").rename(tmp_path / "red")
    paths[0].unlink()
    report = build(tmp_path / "pairs.csv", tmp_path / "index")
    assert (report.unreachable, report.removed, report.images) == (12, 1, 47)
    (tmp_path / "images").rename(tmp_path / "gone")
    with pytest.raises(DataError, match="None of the 48 rows"):
        build(tmp_path / "pairs.csv", tmp_path / "index")
    assert IndexReader(tmp_path / "index").alive().sum() == 47


def test_files_of_a_former_search_method_are_removed(own: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    update = acceleration.update_acceleration

    def files_with(scan_rows: int) -> set[str]:
        sizes = acceleration.Sizes(small=0, scan=scan_rows)
        monkeypatch.setattr(build_module, "update_acceleration", lambda *args: update(*args, sizes=sizes))
        build(*own)
        return {path.name for path in own[1].glob("scan-0001-images-*")}

    assert files_with(16) == {f"scan-0001-images-{row:010d}.faiss" for row in (0, 16, 32)}
    assert files_with(24) == {f"scan-0001-images-{row:010d}.faiss" for row in (0, 24)}


def test_no_images(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(IndexFolderError, match="contains no images"):
        build(tmp_path / "images", tmp_path / "index")
    with pytest.raises(IndexFolderError, match="there is no index in"):
        open_index(tmp_path / "index", quiet)


def test_a_self_link_does_not_hide_its_folder(tmp_path: Path) -> None:
    write_images(tmp_path)
    before = scan(str(tmp_path))
    for name in ("itself", "itself.png"):
        (tmp_path / name).symlink_to(tmp_path / name)
    after = scan(str(tmp_path))
    assert [one.path for one in after.images] == [one.path for one in before.images]
    assert not after.unreachable
