"""A filter as tokens, each with its place. Every text has some: what fits nothing is told as an error at its place."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sdgui.store.run_table.expressions import ExpressionError

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<operator><=|>=|!=|==|[<>=:~])
      | (?P<open>\()
      | (?P<close>\))
      | (?P<comma>,)
      | (?P<call>(?:last|best)\([^\s()<>=!:~,"']+\)|at\(\s*[^\s()<>=!:~,"']+\s*,\s*\d+\s*\))
      | (?P<word>(?:[^\s()<>=!:~,"']|!(?!=))+)""",
    re.VERBOSE,
)
_SURROGATE = re.compile("[\ud800-\udfff]")
KEYWORDS = frozenset({"and", "or", "not", "in"})


@dataclass(frozen=True)
class Token:
    """``kind``: string, operator, open, close, comma, word, or a keyword by its own name. ``text``: without quotes."""

    kind: str
    text: str
    start: int
    end: int


def tokens(text: str) -> list[Token]:
    """The tokens of a filter; ExpressionError at a quote that is not closed, and at half a character."""
    if (half := _SURROGATE.search(text)) is not None:  # pasted from elsewhere: no database takes it
        raise ExpressionError("This is not a character; delete it.", half.start(), half.end())
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            what = "This quote is not closed." if text[at] in "\"'" else f"“{text[at]}” is not understood here."
            raise ExpressionError(what, at, len(text) if text[at] in "\"'" else at + 1)
        kind, part = str(match.lastgroup), match[0]
        if kind != "space":
            found.append(_token(kind, part, at))
        at = match.end()
    return found


def _token(kind: str, part: str, at: int) -> Token:
    if kind == "string":
        return Token(kind, re.sub(r"\\(.)", r"\1", part[1:-1]), at, at + len(part))
    if kind == "call":
        return Token("word", part, at, at + len(part))
    if kind == "operator":
        return Token(kind, {"==": "=", "~": ":"}.get(part, part), at, at + len(part))
    if kind == "word" and part.lower() in KEYWORDS:
        return Token(part.lower(), part, at, at + len(part))
    return Token(kind, part, at, at + len(part))
