"""Class names as users write them, rows that have no usable label, and prompt files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.metrics.classification.labels import index_labels, matching_key, prompt_name
from core.metrics.classification.prompts import (
    bundled_templates,
    load_prompts,
    load_templates,
    prompts,
    unknown_names,
)
from core.metrics.inputs import EvaluationError
from core.spec.data.prompt_sets import PromptSet


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("golden_retriever", "golden retriever"),
        ("  Golden   Retriever ", "Golden Retriever"),
        ("001.Black_footed_Albatross", "Black footed Albatross"),
        ("7-Up", "7-Up"),
        ("Mu\u0308sli", "M\u00fcsli"),
        ("woman_firefighter: medium-dark skin tone", "woman firefighter: medium-dark skin tone"),
        ("👩‍🚒", "👩‍🚒"),
    ],
)
def test_class_names_are_normalised(written: str, read: str) -> None:
    assert prompt_name(written) == read


@given(st.text(max_size=30))
def test_normalising_a_name_twice_changes_nothing(name: str) -> None:
    once = prompt_name(name)
    assert "_" not in once
    assert once == once.strip()
    assert matching_key(once.replace(" ", "_")) == matching_key(once)


def test_labels_match_their_class_in_any_spelling() -> None:
    labels = index_labels(["Golden_Retriever", "tabby cat", "Tabby Cat"], ["golden retriever", "Tabby Cat"])
    assert labels.targets.tolist() == [0, 1, 1]
    assert labels.classes == ("golden retriever", "Tabby Cat")  # as written
    assert labels.notes == ()


def test_classes_that_differ_only_in_case_stay_separate() -> None:
    labels = index_labels(["Apple", "apple", "APPLE"], ["apple", "Apple"])
    assert labels.rows.tolist() == [0, 1]
    assert labels.targets.tolist() == [1, 0]
    assert any("'APPLE'" in note for note in labels.notes)
    assert any("differ only in spelling" in note for note in labels.notes)


def test_rows_without_a_label_are_skipped_and_reported() -> None:
    labels = index_labels(["cat", None, "dog", " ", "bird", "cat"], ["cat", "dog"])
    assert labels.rows.tolist() == [0, 2, 5]
    assert labels.counts().tolist() == [2, 1]
    assert labels.notes == (
        "2 of 6 rows have no label and were skipped.",
        "1 rows were skipped: their 1 labels are not classes ('bird').",
    )
    assert index_labels(["cat", "a", "b", "c", "d"], ["cat", "dog"]).notes == (
        "4 rows were skipped: their 4 labels are not classes ('a', 'b', 'c', ...).",
    )


@pytest.mark.parametrize(
    ("labels", "classes", "says"),
    [
        (["cat", "cat"], None, r"at least two classes \(there is only 'cat'\)"),
        ([None, ""], None, "none of the 2 rows has a label"),
        (["kat"], ["cat", "dog"], "none of the 1 labels .*did you mean 'cat'"),
        (["zebra"], ["cat", "dog"], "both sources must have the same classes"),
        (["cat"], ["cat", "cat"], "listed twice"),
        (["cat"], ["cat", "_"], "1 of 2 class names are empty"),
    ],
)
def test_bad_labels_raise_a_user_error(labels: list[str | None], classes: list[str] | None, says: str) -> None:
    with pytest.raises(EvaluationError, match=says):
        index_labels(labels, classes)


def test_every_bundled_prompt_set_loads_and_has_a_placeholder() -> None:
    names = bundled_templates()
    assert {"photo", "pictogram", "simple"} <= set(names)
    for name in names:
        templates = load_templates(name)
        assert templates
        assert all("{}" in template for template in templates)
        assert len(set(templates)) == len(templates)


def test_a_users_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("\ufeff# mine\n\n a drawing of {c}. \nein Foto von {}\nein Foto von {}\n", encoding="utf-8")
    assert load_templates(file) == ("a drawing of {}.", "ein Foto von {}")
    assert prompts("red_panda", load_templates(str(file))) == ["a drawing of red panda.", "ein Foto von red panda"]


def test_a_file_that_names_classes(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(
        '{"templates": ["a {c}.", " ", "a {}."], "classes": {"n01": ["red  panda", "firefox"], "cat": ["cat"]}}'
    )
    found = load_prompts(file)
    assert found == PromptSet(("a {}.",), {"n01": ("red panda", "firefox")})
    assert (found.names_of("n01"), found.names_of("cat")) == (("red panda", "firefox"), ("cat",))
    assert load_prompts(found.to_json()) == found, "the text itself stands for the file"
    assert unknown_names(found, ["n01", "cat"]) == ()
    assert "1 class that is not in the data, such as 'n01'" in unknown_names(found, ["cat"])[0]
    for text, sentence in (
        ('{"templates": []}', "no prompt template"),
        ('{"templates": ["a photo"]}', "template 1: 'a photo' has no placeholder {}"),
        ('{"templates": ["{}"], "classes": {"a": "b"}}', "list"),
        ('{"templates": ["{}"], "names": {}}', "names"),
        ('{"templates": ["{}"', "mine.json"),
        ('{"templates": ["{}"], "classes": {"a": ["' + 1001 * "b" + '"]}}', "too long names"),
    ):
        file.write_text(text)
        with pytest.raises(EvaluationError) as told:
            load_prompts(file)
        assert sentence in str(told.value)


def test_braces_in_a_class_name_are_plain_text() -> None:
    assert prompts("{c} {} {0}", ["a {}."]) == ["a {c} {} {0}."]


def test_bad_prompt_files_raise_a_user_error(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("a photo of {}\na photo\n", encoding="utf-8")
    with pytest.raises(EvaluationError, match=r"mine.txt, line 2: 'a photo' has no placeholder \{\}"):
        load_templates(file)
    file.write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(EvaluationError, match="no prompt template"):
        load_templates(file)
    file.write_bytes(b"caf\xe9 {}\n")
    with pytest.raises(EvaluationError, match=r"not UTF-8 text \(byte 3\)"):
        load_templates(file)
    with pytest.raises(EvaluationError, match=r"neither a file nor one of the bundled prompt sets: .*photo"):
        load_templates("fotos")
    with pytest.raises(EvaluationError, match="is a folder, not a file"):
        load_templates(tmp_path)
