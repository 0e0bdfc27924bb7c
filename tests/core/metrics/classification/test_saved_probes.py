"""Saved probes and kept class embeddings as somebody else may hand them over: a sentence, never a hang."""

from __future__ import annotations

import json
import os
import struct
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import strategies as st

from core.metrics.classification.probe import Probe, load_probe, save_probe
from core.metrics.classification.zero_shot import ClassEmbedder
from core.metrics.inputs import EvaluationError
from tests.mutations import feed, few_or_many, mutated, survives

_PROBE = Probe(torch.eye(2, 3), torch.zeros(2), ("cat", "dog"), 1.0, "embedding", "abc", templates=("a {}.",))
_FACTS = {
    "version": 1, "classes": ["cat", "dog"], "C": 1.0, "layer": "embedding", "model_digest": "abc",
    "standardised": False, "features": 3, "text": "", "candidates": [], "templates": ["a {}."],
}  # fmt: skip
_HEADER = {
    "__metadata__": {"format": "pt"},
    "bias": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
    "weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [8, 32]},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return save_probe(_PROBE, tmp_path / "probe")


def tensors(header: Any, length: int | None = None, content: bytes = bytes(32)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + content


def with_facts(file: Path, **changes: Any) -> None:
    facts = file.with_suffix(".json")
    facts.write_text(json.dumps({**json.loads(facts.read_text()), **changes}))


def as_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def as_link(target: str) -> Callable[[Path], None]:
    def make(file: Path) -> None:
        file.unlink()
        file.symlink_to(target)

    return make


def as_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (as_pipe, "is a named pipe, not a file"),
        (as_link("/dev/zero"), "is a device, not a file"),
        (as_folder, "is a folder, not a file"),
        (as_link("nowhere"), "cannot read the probe"),
    ],
)
def test_non_files_are_refused(file: Path, suffix: str, make: Callable[[Path], None], message: str) -> None:
    make(file.with_suffix(suffix))
    with pytest.raises(EvaluationError, match=message):
        load_probe(file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 5}, r"classes: .*, not 5"),
        ({"classes": ["cat", 5]}, r"classes.1: .*, not 5"),
        ({"classes": ["cat", "cat"]}, "'cat' is listed twice"),
        ({"classes": ["cat"]}, "at least two classes"),
        ({"classes": ["cat", "dog", "cow"]}, "do not belong together"),
        ({"C": "strong"}, "C: "),
        ({"version": "1"}, "version: "),
        ({"version": 2}, "saved by a later version"),
        ({"features": 4}, "do not belong together"),
        ({"templates": {"a": 1}}, "templates: "),
        ({"layer": ["x" * 10_000]}, "layer: "),
    ],
)
def test_metadata_of_the_wrong_shape_are_refused(file: Path, changes: dict[str, Any], message: str) -> None:
    with_facts(file, **changes)
    with pytest.raises(EvaluationError, match=message) as said:
        load_probe(file)
    assert len(str(said.value)) < 1000


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 200_000, b"9" * 5000, b'{"version": NaN}', b"\xff\xfe\xfd"])
def test_metadata_that_are_not_json_are_refused(file: Path, content: bytes) -> None:
    file.with_suffix(".json").write_bytes(content)
    with pytest.raises(EvaluationError):
        load_probe(file)


def claiming(shape: list[int]) -> dict[str, Any]:
    last = 4 * torch.Size(shape).numel() if len(shape) < 9 else 24
    return {**_HEADER, "weight": {"dtype": "F32", "shape": shape, "data_offsets": [8, 8 + last]}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 64,
        tensors(_HEADER, length=2**63),
        tensors(_HEADER, length=10_000),
        tensors(b"[]"),
        tensors({"weight": _HEADER["weight"]}),
        tensors(claiming([2, 10**9])),
        tensors(claiming([2, 3, 1])),
        tensors(claiming([2**31] * 100_000)),
        tensors({**_HEADER, "weight": {"dtype": "F32", "shape": [2, -3], "data_offsets": [8, 32]}}),
        tensors({**_HEADER, "weight": {"dtype": "PICKLE", "shape": [2, 3], "data_offsets": [8, 32]}}),
        tensors(_HEADER, content=bytes(16)),
        tensors(_HEADER, content=b"\xff" * 32),
    ],
)
def test_tensors_of_the_wrong_shape_are_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)

    def read() -> None:
        with pytest.raises(EvaluationError):
            load_probe(file)

    survives(read)


def test_a_huge_sparse_file_is_refused_by_its_header(file: Path) -> None:
    with file.open("r+b") as whole:
        whole.truncate(1 << 30)

    def read() -> None:
        with pytest.raises(EvaluationError):
            load_probe(file)

    survives(read)


def test_a_header_of_many_empty_tensors_is_refused_before_it_is_parsed(file: Path) -> None:
    entries = b",".join(b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % number for number in range(400_000))
    file.write_bytes(struct.pack("<Q", len(entries) + 2) + b"{" + entries + b"}")

    def read() -> None:
        with pytest.raises(EvaluationError, match="its header is too long"):
            load_probe(file)

    survives(read)


@pytest.mark.parametrize("name", ["", "/", "a\0b"])
def test_names_of_missing_files_are_refused(name: str) -> None:
    with pytest.raises(EvaluationError, match="is not the name of a file"):
        load_probe(Path(name))
    with pytest.raises(EvaluationError, match="is not the name of a file"):
        save_probe(_PROBE, Path(name))


def test_a_replaced_probe_keeps_a_json_file_that_is_not_its_own(file: Path) -> None:
    save_probe(_PROBE, file, replace=True)
    other = file.with_suffix(".json")
    other.write_text('{"mine": 1}')
    before = file.read_bytes()
    changed = replace(_PROBE, weight=torch.ones(2, 3))
    with pytest.raises(EvaluationError, match=r"probe\.json exists and does not describe a probe; choose another name"):
        save_probe(changed, file, replace=True)
    assert (other.read_text(), file.read_bytes()) == ('{"mine": 1}', before)


def _read_facts(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = save_probe(_PROBE, Path(folder) / "probe")
        file.with_suffix(".json").write_bytes(content)
        survives(lambda: load_probe(file))


def _read_tensors(header: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = save_probe(_PROBE, Path(folder) / "probe")
        file.write_bytes(tensors(header))
        survives(lambda: load_probe(file))


def _read_cache(header: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        embedder = ClassEmbedder(lambda texts: torch.ones(len(texts), 3), ["a {}"], "abc", Path(folder))
        embedder.embed(["cat", "dog"])
        next(Path(folder).glob("*.safetensors")).write_bytes(tensors(header, content=bytes(24)))
        survives(lambda: ClassEmbedder(embedder._encode, ["a {}"], "abc", Path(folder)).embed(["cat"], keep=False))


_CACHE = {
    "__metadata__": {"classes": '["cat", "dog"]', "templates": '["a {}"]'},
    "embeddings": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
}
_HOSTILE: st.SearchStrategy[tuple[Callable[[bytes], None], bytes]] = st.one_of(
    st.tuples(st.just(_read_facts), mutated(_FACTS)),
    st.tuples(st.just(_read_tensors), mutated(_HEADER, line=True)),
    st.tuples(st.just(_read_cache), mutated(_CACHE, line=True)),
)


@few_or_many
def test_mutated_probes_and_caches_are_read_or_refused(examples: int) -> None:
    feed(lambda case: case[0](case[1]), _HOSTILE, examples)
