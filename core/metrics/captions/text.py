"""Splits captions into words like COCO's caption evaluation, without Java.

COCO scores the tokens of Stanford's Penn Treebank tokenizer, in lower case and without punctuation. This module follows
its rules for captions: contractions are split (``does n't``, ``dog 's``), abbreviations keep their period, numbers and
hyphenated words are not split, brackets become ``-lrb-`` etc. One deliberate difference: emoji and other symbols are
separate words, while the Java tokenizer drops them.
"""

from __future__ import annotations

import re

_ABBREVIATIONS = (
    "mr|mrs|ms|dr|prof|st|jr|sr|vs|etc|inc|co|bros|corp|ltd|ave|blvd|rd|mt|ft|gen|col|capt|lt|sgt|rev|hon|gov|sen|rep|"
    "jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec|mon|tue|wed|thu|fri|sat"
)
# Replacements of characters before splitting.
_SIGNS = str.maketrans(
    {
        "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u00a0": " ", "\u00ad": None,
        "\u2013": " -- ", "\u2014": " -- ", "\u2026": " ... ",
        "\u20ac": "$", "\u00a3": " # ", "\u00a2": " cents ", "\u00bd": "1/2", "\u00bc": "1/4", "\u00be": "3/4",
        "(": " -lrb- ", ")": " -rrb- ", "[": " -lsb- ", "]": " -rsb- ", "{": " -lcb- ", "}": " -rcb- ",
    }
)  # fmt: skip
_TOKEN = re.compile(
    rf"""
      https?://\S+ | [\w.+-]+@[\w-]+(?:\.[\w-]+)+             # addresses
    | -[lr][rsc]b-                                            # brackets
    | (?:{_ABBREVIATIONS})\.(?!\w)                             # abbreviations
    | (?:[^\W\d_]\.)+(?!\w) | ph\.d\. | no\.(?=\s*\d)         # a.m., u.s.
    | (?<!\S)[+-]\d+(?:[.,]\d+)* | \d+(?:[.,:/]\d+)+(?:-\w+)*  # -5 3,000 5.00 9:30 10/12
    | [#@][^\W\d]\w* | </?\w+>                                # tags
    | c\+\+ | at&t
    | '(?:n|em|til|cause)\b'? | '\d0s | ol'(?!\w)             # rock 'n' roll
    | '(?:s|m|re|ve|ll|d)\b | 't(?=is\b|was\b)                # the end of a contraction, separate
    | \w+(?:[-/'.]\w+)*                                       # words, including -, /, ' and . within them
    | [?!]+ | \.+ | -+ | '' | ``                              # punctuation
    | \S                                                      # any other sign by itself
    """,
    re.VERBOSE,
)
_CONTRACTION = re.compile(r"^(.+?)(n't|'(?:s|m|re|ve|ll|d))$")
_TWO_WORDS = {
    "cannot": "can not", "gonna": "gon na", "wanna": "wan na", "gotta": "got ta", "gimme": "gim me", "lemme": "lem me",
    "y'all": "y' all", "d'ye": "d' ye", "more'n": "more 'n",
}  # fmt: skip
# COCO's list of non-words; longer runs (?! or !!) count as words.
_PUNCTUATION = re.compile(r"""''?|``?|"|\.+|-+|[?!,:;]""")


def tokens(caption: str) -> list[str]:
    """The words of ``caption`` in lower case, split as in COCO's evaluation; [] if there are none."""
    words: list[str] = []
    for token in _TOKEN.findall(caption.lower().translate(_SIGNS)):
        if not _PUNCTUATION.fullmatch(token):
            words.extend(_split(token))
    return words


def _split(token: str) -> list[str]:
    """``can't`` -> ca n't; ``i'd've`` -> i 'd 've; ``cannot`` -> can not."""
    if token in _TWO_WORDS:
        return _TWO_WORDS[token].split()
    match = _CONTRACTION.match(token)
    if match is None:
        return [token]
    return [*_split(match[1]), match[2]]
