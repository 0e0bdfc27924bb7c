"""Formulas of a page as plain text: Qt's browser shows no TeX, and Unicode has most of the signs. No Qt.

``as_text`` knows what the pages of ``docs/`` use: fractions, indices, accents, Greek letters, arrows.
"""

from __future__ import annotations

import re

_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_BLOCK, _INLINE = re.compile(r"\$\$(.+?)\$\$", re.DOTALL), re.compile(r"\$([^$\n]+)\$")
_SIGNS = {
    r"\leftarrow": "←", r"\to": "→", r"\mid": "|", r"\|": "‖", r"\top": "ᵀ", r"\sim": "~", r"\propto": "∝",
    r"\sum": "Σ", r"\alpha": "α", r"\gamma": "γ", r"\theta": "θ", r"\tau": "τ", r"\log": "log ", r"\qquad": "    ",
    r"\quad": "   ",
    r"\,": " ", r"\;": " ", r"\!": "", r"\left": "", r"\right": "", r"\tfrac12": "½",
}  # fmt: skip
_ACCENTS = {"bar": "\u0304", "tilde": "\u0303"}
_SUBSCRIPTS = dict(zip("0123456789ijknrstx", "₀₁₂₃₄₅₆₇₈₉ᵢⱼₖₙᵣₛₜₓ", strict=True))
_SUPERSCRIPTS = {"2": "²", "ᵀ": "ᵀ"}


def as_text(markdown: str) -> str:
    """``markdown`` with each formula between dollars as text; what is in a code block stays."""
    parts = _FENCE.split(markdown)
    return "".join(part if part.startswith("```") else _prose(part) for part in parts)


def _prose(text: str) -> str:
    text = _BLOCK.sub(lambda found: f"\n\n    {_formula(' '.join(found[1].split()))}\n\n", text)
    return _INLINE.sub(lambda found: _escaped(_formula(found[1])), text)


def _formula(tex: str) -> str:
    tex = re.sub(r"\\math(?:rm|cal)\s*(?:\{(\w+)\}|(\w))", lambda found: found[1] or found[2], tex)
    for sign, text in _SIGNS.items():
        tex = re.sub(re.escape(sign) + (r"(?![A-Za-z])" if sign[-1].isalpha() else ""), text, tex)
    tex = re.sub(r"\\(bar|tilde)\s*\{?(\w)\}?", lambda found: found[2] + _ACCENTS[found[1]], tex)
    tex = re.sub(r"_\{([^{}]*)\}|_(\w)", lambda found: _index(found[1] or found[2], "_", _SUBSCRIPTS), tex)
    tex = re.sub(r"\^\{([^{}]*)\}|\^(\S)", lambda found: _index(found[1] or found[2], "^", _SUPERSCRIPTS), tex)
    tex = re.sub(r"\\frac\s*(?:\{([^{}]*)\}|(\w))\s*(?:\{([^{}]*)\}|(\w))", _fraction, tex)
    return " ".join(re.sub(r"\\([A-Za-z]+)", r"\1", tex).replace("{", "").replace("}", "").split())


def _index(text: str, mark: str, signs: dict[str, str]) -> str:
    text = text.strip()
    if all(sign in signs for sign in text):
        return "".join(signs[sign] for sign in text)
    return f"{mark}{text}" if len(text) == 1 else f"{mark}({text})"


def _fraction(found: re.Match[str]) -> str:
    above, below = found[1] or found[2], found[3] or found[4]
    return "/".join(part if len(part) == 1 else f"({part})" for part in (above, below))


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([*_|<\[])", r"\\\1", text)
