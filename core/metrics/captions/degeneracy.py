"""Finds degenerate captions: empty, the same for many images, or repeating themselves.

Degenerate captions are reported separately, since scores hide them: a single generic sentence reaches a good BLEU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from core.metrics.inputs import EvaluationError

MIN_REPETITIONS = 3  # "a dog a dog a dog"
MAX_LOOP_WORDS = 4
MIN_REPEATED_SHARE = 0.2  # a caption is reported if at least this share of all captions equals it
MIN_CAPTIONS = 10  # with fewer captions, a repeated caption is only reported if all are equal


@dataclass(frozen=True)
class Degeneracy:
    """The degenerate captions among the scored captions, as row numbers."""

    captions: int
    empty: tuple[int, ...]
    looping: tuple[int, ...]
    same: tuple[int, ...]  # rows with a caption that occurs too often
    same_caption: str
    distinct: int  # number of different captions

    @property
    def share(self) -> float:
        """The share of captions that are degenerate in any way, from 0 to 1."""
        return len({*self.empty, *self.looping, *self.same}) / self.captions

    def notes(self) -> tuple[str, ...]:
        """A sentence for each kind of degeneracy."""
        notes = []
        if self.empty:
            notes.append(f"{len(self.empty)} of {self.captions} captions are empty.")
        if len(self.same) == self.captions:
            notes.append(
                f"all {self.captions} captions are the same: {self.same_caption!r}; the model ignores the image."
            )
        elif self.same:
            notes.append(f"{len(self.same)} of {self.captions} captions are the same: {self.same_caption!r}.")
        if self.looping:
            notes.append(f"{len(self.looping)} of {self.captions} captions repeat themselves in a loop.")
        return tuple(notes)


def degeneracy(captions: Sequence[Sequence[str]]) -> Degeneracy:
    """Find degenerate captions in ``captions``, each a list of words."""
    if not captions:
        raise EvaluationError("there are no captions to check.")
    texts = [" ".join(words) for words in captions]
    caption_counts = Counter(text for text in texts if text)
    common, times = caption_counts.most_common(1)[0] if caption_counts else ("", 0)
    suspect = times == len(texts) > 1 or (len(texts) >= MIN_CAPTIONS and times >= MIN_REPEATED_SHARE * len(texts))
    return Degeneracy(
        captions=len(texts),
        empty=tuple(row for row, text in enumerate(texts) if not text),
        looping=tuple(row for row, words in enumerate(captions) if is_looping(words)),
        same=tuple(row for row, text in enumerate(texts) if text == common) if suspect else (),
        same_caption=common if suspect else "",
        distinct=len(set(texts)),
    )


def is_looping(words: Sequence[str]) -> bool:
    """Whether a run of one to four words occurs at least three times in succession."""
    for length in range(1, MAX_LOOP_WORDS + 1):
        same = 0  # number of consecutive words that equal the word ``length`` before them
        for position in range(length, len(words)):
            same = same + 1 if words[position] == words[position - length] else 0
            if same >= length * (MIN_REPETITIONS - 1):
                return True
    return False
