"""What the caption filter (``belief.prior=words``) drops and finds, for several draws, rates and kinds of noise.

Flow: ``python -m core.studies.filtering OUT.json NAME=DATA.csv ...`` -> the rows of ``OUT.json`` -> `table`, which
``docs/results.md`` quotes. A row is ``{"data", "kind", "rate", "draw", "pairs", "mismatched", "dropped", "precision",
"found"}``, the last two in per cent, null where nothing is dropped or nothing is mismatched. Each draw of the noise is
seeded as a study with ``noise.seed: null`` seeds it. Rows that are in the file already are not computed again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.data.dataset import PairDataset, open_dataset
from core.data.derived.noisy import wrong_captions
from core.objectives.weighting.prior import looked_at
from core.objectives.weighting.words import clean_probability
from core.spec.config import override
from core.spec.files import write_whole
from core.spec.presets import preset_config
from core.spec.resources import resource_folder
from core.spec.study.config import NoiseKind
from core.studies.study.statistics import mean_of

DRAWS = (10, 11, 12, 13, 14)
GROUP = "group"  # label column of in-group
PUBLISHED = resource_folder("studies") / "caption-filter" / "draws.json"
CASES: tuple[tuple[NoiseKind, float], ...] = (
    ("shuffled", 0.0),
    ("shuffled", 0.2),
    ("shuffled", 0.3),
    ("shuffled", 0.4),
    ("shuffled", 0.6),
    ("in-group", 0.3),
)


def filtered(
    looks: Tensor, captions: list[str], groups: list[str], kind: NoiseKind, rate: float, draw: int
) -> dict[str, Any]:
    """The counts of one draw, for images with the descriptors ``looks`` (P, F) and one caption each."""
    shown = [(caption,) for caption in captions]
    changed = wrong_captions(shown, rate, draw, kind, groups) if rate else shown
    wrong = torch.tensor([new != old for new, old in zip(changed, shown, strict=True)])
    dropped = clean_probability(looks, [one for (one,) in changed], torch.arange(len(captions))) < 0.5
    hits, count, out = int((wrong & dropped).sum()), int(wrong.sum()), int(dropped.sum())
    return {
        "kind": kind,
        "rate": rate,
        "draw": draw,
        "pairs": len(captions),
        "mismatched": count,
        "dropped": out,
        "precision": round(100 * hits / out, 1) if out else None,
        "found": round(100 * hits / count, 1) if count else None,
    }


def read_rows(path: Path = PUBLISHED) -> list[dict[str, Any]]:
    """The rows of a file that `main` wrote; by default those that come with the program."""
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """``rows`` as Markdown: means over draws with Student's 95 % intervals, a line for each data set, kind and rate."""
    lines = [
        "| data | captions | draws | dropped | precision | found | mismatched among the rest |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for data, kind, rate in dict.fromkeys((row["data"], row["kind"], row["rate"]) for row in rows):
        some = [row for row in rows if (row["data"], row["kind"], row["rate"]) == (data, kind, rate)]
        dropped = [100 * row["dropped"] / row["pairs"] for row in some]
        left = [
            100 * row["mismatched"] * (1 - (row["found"] or 0) / 100) / (row["pairs"] - row["dropped"]) for row in some
        ]
        columns = [dropped, [row["precision"] for row in some], [row["found"] for row in some], left]
        title = f"{100 * rate:g} % {kind}" if rate else "all clean"
        lines.append(f"| {data} | {title} | {len(some)} | " + " | ".join(map(_cell, columns)) + " |")
    return "\n".join(lines) + "\n"


def _cell(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    mean = mean_of(known)
    return f"{mean.mean:.1f}" + ("" if mean.low is None else f" ({mean.low:.1f} to {mean.high:.1f})")


def main(arguments: list[str]) -> int:
    """Compute what is missing in the file, and write it after every row."""
    out = Path(arguments[0])
    rows: list[dict[str, Any]] = json.loads(out.read_text()) if out.exists() else []
    for name, _, source in (one.partition("=") for one in arguments[1:]):
        dataset = _opened(source)
        groups = [dataset.labels(row).get(GROUP, "") for row in range(len(dataset))]
        readable, looks = looked_at(dataset, None)
        assert torch.equal(readable, torch.arange(len(dataset)))
        cases = [(kind, rate, draw) for draw in DRAWS for kind, rate in CASES]
        for kind, rate, draw in cases:
            if (not rate and draw != DRAWS[0]) or (kind == "in-group" and not any(groups)):
                continue
            key = {"data": name, "kind": kind, "rate": rate, "draw": draw}
            if any(key.items() <= row.items() for row in rows):
                continue
            rows.append({"data": name} | filtered(looks, list(dataset.captions), groups, kind, rate, draw))
            print(rows[-1], flush=True)
            write_whole(out, ("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n").encode())
    return 0


def _opened(source: str) -> PairDataset:
    config = override(preset_config("clip", "demo"), [f"data.train={source}"])
    return open_dataset(
        source, config.data, 96, lambda texts: torch.zeros(len(texts), 1, dtype=torch.long), pad_id=0, log=None
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
