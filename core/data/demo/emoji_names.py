"""Labels parsed from an emoji's name: concept, skin tone, gender and group.

Flow: ``openmoji`` takes the name of each image from the ``emoji`` package and calls ``parse_name`` for the demo data.

"woman firefighter medium-dark skin tone" has the concept firefighter, the gender woman and the tone medium-dark. Two
people have two tones ("handshake light skin tone dark skin tone"). Gender words come first ("women wrestling"), last
("couple with heart woman man") or in between ("deaf man").
"""

from __future__ import annotations

import re
from dataclasses import dataclass

IMAGES_FOLDER = "images"  # folder of the rendered images
_TONE = re.compile(r" ?\b(medium-light|medium-dark|light|medium|dark) skin tone\b")
_DIRECTION = re.compile(r" facing right$")
_GENDERS = {
    "woman": "woman", "women": "woman", "girl": "woman",
    "man": "man", "men": "man", "boy": "man",
    "person": "person", "people": "person", "adult": "person", "child": "person",
}  # fmt: skip
# Names that do not contain their gender as a separate word: concept and gender.
_SPECIAL = {
    "merperson": ("merperson", "person"),
    "mermaid": ("merperson", "woman"),
    "merman": ("merperson", "man"),
    "mx claus": ("claus", "person"),
    "mrs. claus": ("claus", "woman"),
    "santa claus": ("claus", "man"),
    "person with crown": ("royalty", "person"),
    "princess": ("royalty", "woman"),
    "prince": ("royalty", "man"),
    "older person": ("older person", "person"),
    "old woman": ("older person", "woman"),
    "old man": ("older person", "man"),
    "child": ("child", "person"),
    "girl": ("child", "woman"),
    "boy": ("child", "man"),
    "person": ("person", "person"),
    "woman": ("person", "woman"),
    "man": ("person", "man"),
    "woman and man holding hands": ("holding hands", "mixed"),
    "breast-feeding": ("breast-feeding", "woman"),
}
# First code points of each group. Other emoji below U+3300 are symbols, and all others are objects.
_GROUPS = {
    "flags": "1F1E6-1F1FF 1F38C 1F3C1 1F3F3-1F3F4 1F6A9",
    "smileys": "2639-263A 2763-2764 1F479-1F47B 1F47D-1F480 1F48B-1F48C 1F493-1F49F 1F4A2-1F4A9 1F4AB-1F4AD "
    "1F4AF 1F573 1F5A4 1F5E8 1F5EF 1F600-1F644 1F648-1F64A 1F90D-1F90E 1F910-1F917 1F920-1F925 "
    "1F927-1F92F 1F970-1F976 1F978-1F97A 1F9D0 1F9E1 1FA75-1FA77 1FAE0-1FAEA 1FAEF",
    "people": "261D 26F7 26F9 270A-270D 1F385 1F3C2-1F3C4 1F3C7 1F3CA-1F3CC 1F440-1F450 1F463-1F478 1F47C "
    "1F481-1F483 1F485-1F487 1F48F 1F491 1F4AA 1F574-1F575 1F57A 1F590 1F595-1F596 1F5E3 "
    "1F645-1F647 1F64B-1F64F 1F6A3 1F6B4-1F6B6 1F6C0 1F6CC 1F90C 1F90F 1F918-1F91F 1F926 "
    "1F930-1F939 1F93C-1F93E 1F977 1F9B0-1F9B9 1F9BB 1F9BE-1F9BF 1F9CD-1F9CF 1F9D1-1F9E0 "
    "1FAC0-1FAC8 1FAF0-1FAF8 1FBC5-1FBC9",
    "animals": "2618 1F331-1F335 1F337-1F33C 1F33E-1F344 1F3F5 1F400-1F43F 1F490 1F4AE 1F54A 1F577-1F578 "
    "1F940 1F980-1F9AE 1FAB0-1FABF 1FACD-1FACF 1F9A0",
    "food": "2615 1F32D-1F330 1F336 1F33D 1F345-1F37F 1F382 1F942-1F944 1F950-1F96F 1F9C0-1F9CB 1F52A "
    "1F962 1FAD0-1FADF 1F3FA",
    "travel": "231A-231B 23F0-23F3 2600-2604 2614 2668 2693 26A1 26C4 26C5 26C8 26E9-26EA 26F0-26F5 26FA "
    "26FD 2708 2744 2B50 1F300-1F32C 1F3A0-1F3A2 1F3AA 1F3D4-1F3F0 1F488 1F492 1F4A7 1F4BA 1F525 "
    "1F54B-1F54E 1F550-1F567 1F570 1F5FA-1F5FF 1F680-1F6A2 1F6A4-1F6A8 1F6B2 1F6CE 1F6D1-1F6D7 "
    "1F6DC-1F6DF 1F6E2-1F6E5 1F6E9-1F6FC 1F9BC-1F9BD 1F9ED 1F9F1 1F9F3 1FA90 1FA82",
    "activities": "2660 2663 2665 2666 265F 26BD-26BE 26F3 26F8 2728 1F004 1F0CF 1F380-1F381 1F383-1F384 "
    "1F386-1F38B 1F38D-1F391 1F396-1F397 1F39F 1F3A3 1F3A8-1F3A9 1F3AB-1F3B4 1F3BD-1F3C0 "
    "1F3C5-1F3C6 1F3C8-1F3C9 1F3CD-1F3D3 1F3F8-1F3F9 1F52B 1F52E 1F579 1F5BC 1F93A 1F93F 1F941 "
    "1F945-1F94F 1F9E7-1F9E9 1F9F5-1F9F6 1F9F8 1FA80-1FA81 1FA83-1FA87 1FAA1-1FAA2 1FAA9 1FA70 "
    "1F6F7",
    "objects": "2328 260E 2692 2694 2696-2697 2699 26B0-26B1 26CF 26D1 26D3 2702 2709 270F 2712",
    "symbols": "1F3A6 1F4A0 1F4A2 1F4B1-1F4B2 1F4F3-1F4F6 1F500-1F506 1F515 1F518-1F524 1F52F-1F53D 1F549 "
    "1F6AB 1F6AD-1F6B1 1F6B3 1F6B7-1F6BC 1F6BE 1F6C2-1F6C5 1F6D0 1F6DC 1F7E0-1F7F0 1FAAF",
}


def _ranges(text: str) -> list[range]:
    ranges = []
    for part in text.split():
        first, _, last = part.partition("-")
        ranges.append(range(int(first, 16), int(last or first, 16) + 1))
    return ranges


_GROUP_OF = {code: group for group, text in _GROUPS.items() for span in _ranges(text) for code in span}


@dataclass(frozen=True)
class Emoji:
    """An emoji to render: code points ("1F469-200D-1F692"), name in words, labels ("" if the name has none)."""

    code: str
    title: str
    concept: str
    tone: str
    gender: str
    group: str

    @property
    def filepath(self) -> str:
        """The path of the image, relative to the demo folder."""
        return f"{IMAGES_FOLDER}/{self.code}.png"


def parse_name(code: str, name: str) -> Emoji:
    """The emoji with code points ``code`` ("1F469-200D-1F692") and ``name`` in words."""
    tones = _TONE.findall(name)
    base_name = _DIRECTION.sub("", _TONE.sub("", name).strip())
    concept, gender = (
        _SPECIAL.get(base_name.lower(), ("", "")) if base_name else ("skin tone", "")
    )  # a name without a concept is a swatch of a skin tone
    if not concept:
        concept, gender = _split_gender(base_name)
    return Emoji(code, name, concept.lower(), " + ".join(tones), gender, group_of(code))


def _split_gender(name: str) -> tuple[str, str]:
    """``name`` without gender words, and the gender that they express."""
    words = name.split()
    people = [_GENDERS[word] for word in words if word in _GENDERS]
    shortened = " ".join(word for word in words if word not in _GENDERS)
    if not people or not shortened:
        return name, ""
    return shortened, people[0] if len(set(people)) == 1 else "mixed"


def group_of(code: str) -> str:
    """The group of the first code point, such as "smileys", "people" or "flags"; see ``_GROUPS``."""
    first = int(code.partition("-")[0], 16)
    if code.endswith("-20E3"):
        return "symbols"
    return _GROUP_OF.get(first) or ("symbols" if first < 0x3300 or 0x1F100 <= first < 0x1F300 else "objects")
