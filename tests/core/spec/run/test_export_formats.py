"""The code sample for opening an exported model, and the precisions of the formats."""

from __future__ import annotations

import ast

import pytest

from core.spec.run.export_formats import EXPORT_FORMATS, EXPORT_PRECISIONS, FormatName


@pytest.mark.parametrize("format_name", EXPORT_FORMATS)
def test_the_code_sample_quotes_the_folder_name(format_name: FormatName) -> None:
    folder = 'C:\\models\\my "best" {one}'
    code = EXPORT_FORMATS[format_name].how_to_open(folder)
    named = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]
    assert any(isinstance(one, str) and folder in one for one in named)
    assert "@FOLDER@" not in code


def test_onnx_is_exported_in_full_precision_and_other_formats_in_any() -> None:
    assert {name: export_format.precisions for name, export_format in EXPORT_FORMATS.items()} == {
        "open_clip": EXPORT_PRECISIONS, "huggingface": EXPORT_PRECISIONS, "onnx": ("fp32",)
    }  # fmt: skip
