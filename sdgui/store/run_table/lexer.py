"""A filter as tokens with positions. Text that is not a token raises an error with its position."""

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
    """The tokens of a filter; ExpressionError at an unclosed quote or a lone surrogate."""
    if (surrogate := _SURROGATE.search(text)) is not None:  # from pasted text; databases reject it
        raise ExpressionError("This is not a valid character; delete it.", surrogate.start(), surrogate.end())
    result: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            if text[position] in "\"'":
                raise ExpressionError("This quote is not closed.", position, len(text))
            raise ExpressionError(f"“{text[position]}” is not understood here.", position, position + 1)
        kind, part = str(match.lastgroup), match[0]
        if kind != "space":
            result.append(_token(kind, part, position))
        position = match.end()
    return result


def _token(kind: str, part: str, start: int) -> Token:
    if kind == "string":
        return Token(kind, re.sub(r"\\(.)", r"\1", part[1:-1]), start, start + len(part))
    if kind == "call":
        return Token("word", part, start, start + len(part))
    if kind == "operator":
        return Token(kind, {"==": "=", "~": ":"}.get(part, part), start, start + len(part))
    if kind == "word" and part.lower() in KEYWORDS:
        return Token(part.lower(), part, start, start + len(part))
    return Token(kind, part, start, start + len(part))
