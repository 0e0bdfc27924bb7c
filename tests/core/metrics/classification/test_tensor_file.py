"""The reader of the tensors of a probe: the smallest file that there is, and less than that."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.metrics.classification.tensor_file import read_tensors
from core.metrics.inputs import EvaluationError
from tests.core.metrics.classification.test_saved_probes import tensors


def test_a_file_without_tensors_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "none.safetensors"
    file.write_bytes(tensors({}, content=b""))
    assert file.stat().st_size == 10
    assert read_tensors(file, 100, lambda header: None, EvaluationError) == ({}, {})
    file.write_bytes(tensors(b"1", content=b""))
    with pytest.raises(EvaluationError, match="is not a safetensors file"):
        read_tensors(file, 100, lambda header: None, EvaluationError)
