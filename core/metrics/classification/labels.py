"""Class names, and the class index of each labelled row.

Flow: data source -> labels as text -> `index_labels` -> zero-shot, probe or kNN. Reports show a name as the user wrote
it; prompts, and matching between two sources, use a normalised form.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.metrics.inputs import EvaluationError

# CUB and others number their folders: "001.Black_footed_Albatross".
_FOLDER_NUMBER = re.compile(r"^\d{2,4}\.(?=[^\W\d])")
_SPACES = re.compile(r"[\s_]+")


@dataclass(frozen=True)
class Labels:
    """The rows with a usable label.

    ``targets[i]`` is the class of row ``rows[i]``; ``notes`` describe skipped rows.
    """

    classes: tuple[str, ...]
    rows: Tensor  # (n,) int64, positions in the source
    targets: Tensor  # (n,) int64
    notes: tuple[str, ...] = ()

    def counts(self) -> Tensor:
        """The number of rows of each class: (K,) int64."""
        return torch.bincount(self.targets, minlength=len(self.classes))


def prompt_name(name: str) -> str:
    """A class name for a prompt: ``001.black_footed_albatross`` -> ``black footed albatross``.

    Underscores and runs of whitespace become one space, a folder number is removed, and Unicode is composed; case,
    hyphens, umlauts and emoji do not change.
    """
    composed = unicodedata.normalize("NFC", name).strip()
    return _SPACES.sub(" ", _FOLDER_NUMBER.sub("", composed)).strip()


def matching_key(name: str) -> str:
    """A key that is equal for spellings of the same class, such as ``Golden_Retriever`` and ``golden retriever``."""
    return prompt_name(name).casefold().replace("\ufe0f", "")


def check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """``classes`` as a tuple. Raises EvaluationError for fewer than two, an empty name, or a duplicate."""
    if len(classes) < 2:
        only = f" (there is only {classes[0]!r})" if classes else ""
        raise EvaluationError(f"classification needs at least two classes{only}; check the label column.")
    empty = sum(not prompt_name(name) for name in classes)
    if empty:
        raise EvaluationError(f"{empty} of {len(classes)} class names are empty; give each class a name.")
    duplicates = [name for name, count in Counter(classes).items() if count > 1]
    if duplicates:
        raise EvaluationError(f"the class {duplicates[0]!r} is listed twice; remove one of them.")
    return tuple(classes)


def index_labels(labels: Sequence[str | None], classes: Sequence[str] | None = None) -> Labels:
    """The labelled rows of ``labels``, as indices into ``classes`` (default: the sorted labels).

    A label matches a class by its exact name, or otherwise by another spelling (case, underscores). Rows without a
    label, or whose label is not a class, are skipped and noted. Raises EvaluationError if no row is left.
    """
    labelled_rows = [(row, label) for row, label in enumerate(labels) if label is not None and label.strip()]
    if not labelled_rows:
        raise EvaluationError(f"none of the {len(labels)} rows has a label; choose the column with the labels.")
    names = check_classes(sorted({label for _, label in labelled_rows}) if classes is None else classes)
    find = _finder(names)
    labelled = [(row, position) for row, label in labelled_rows if (position := find(label)) is not None]
    if not labelled:
        raise EvaluationError(_no_overlap({label for _, label in labelled_rows}, names))
    notes = _notes(labels, labelled_rows, names, find)
    rows, targets = zip(*labelled, strict=True)
    return Labels(names, torch.tensor(rows), torch.tensor(targets), notes)


def _finder(names: Sequence[str]) -> Callable[[str], int | None]:
    """A function that returns the index of a label's class; another spelling must match a single class."""
    exact = {name: position for position, name in enumerate(names)}
    shared = Counter(matching_key(name) for name in names)
    loose = {key: position for position, name in enumerate(names) if shared[key := matching_key(name)] == 1}
    return lambda label: exact.get(label, loose.get(matching_key(label)))


def _no_overlap(labels: set[str], names: Sequence[str]) -> str:
    label = min(labels)
    near = difflib.get_close_matches(label, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "both sources must have the same classes."
    return (
        f"none of the {len(labels)} labels (such as {label!r}) is one of the {len(names)} classes "
        f"(such as {names[0]!r}); {hint}"
    )


def _notes(
    labels: Sequence[str | None],
    labelled_rows: Sequence[tuple[int, str]],
    names: Sequence[str],
    find: Callable[[str], int | None],
) -> tuple[str, ...]:
    notes = []
    if len(labelled_rows) < len(labels):
        notes.append(f"{len(labels) - len(labelled_rows)} of {len(labels)} rows have no label and were skipped.")
    unknown = Counter(label for _, label in labelled_rows if find(label) is None)
    if unknown:
        examples = ", ".join(repr(name) for name, _ in unknown.most_common(3)) + (", ..." if len(unknown) > 3 else "")
        notes.append(f"{unknown.total()} rows were skipped: their {len(unknown)} labels are not classes ({examples}).")
    ambiguous = [key for key, count in Counter(matching_key(name) for name in names).items() if count > 1]
    if ambiguous:
        spellings = [name for name in names if matching_key(name) == ambiguous[0]]
        notes.append(f"classes that differ only in spelling are kept separate: {', '.join(map(repr, spellings))}.")
    return tuple(notes)
