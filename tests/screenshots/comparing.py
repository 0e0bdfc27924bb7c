"""By how much two images of a panel differ, told so that hardly visible differences do not count.

Both are averaged over squares of ``CELL`` x ``CELL`` pixels; of these, the share that differs by more than ``SHADE`` of
255 in any colour is the difference. So edges of letters that another release of Qt draws otherwise weigh nothing, three
words that have changed are about a thousandth, and a row that is put in or moved is a few hundredths.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops

CELL = 4  # pixels
SHADE = 24
TOLERANCE = 0.005  # of an image's area


@dataclass(frozen=True)
class Difference:
    """The share of the area that differs, and where: left, top, right, bottom in pixels; None where nothing does."""

    share: float
    where: tuple[int, int, int, int] | None = None

    @property
    def tolerable(self) -> bool:
        return self.share <= TOLERANCE


def difference(old: Path, new: Path) -> Difference:
    """Between two images; the whole area where ``old`` is missing or of another size."""
    with Image.open(new) as image:
        now = image.convert("RGB")
    everything = Difference(1.0, (0, 0, *now.size))
    if not old.is_file():
        return everything
    with Image.open(old) as image:
        before = image.convert("RGB")
    if before.size != now.size:
        return everything
    bands = ImageChops.difference(before.reduce(CELL), now.reduce(CELL)).split()
    most = ImageChops.lighter(ImageChops.lighter(bands[0], bands[1]), bands[2])
    beyond = most.point(lambda value: 255 if value > SHADE else 0)
    count = beyond.histogram()[255]
    box = beyond.getbbox()
    where = None if box is None else (box[0] * CELL, box[1] * CELL, box[2] * CELL, box[3] * CELL)
    return Difference(count / (beyond.width * beyond.height), where)
