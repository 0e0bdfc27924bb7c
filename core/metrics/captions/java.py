"""METEOR and SPICE with pycocoevalcap's Java programs if they are installed; otherwise the reason why they did not run.

Nothing is downloaded: SPICE needs Stanford's language models, which pycocoevalcap would download on first use; without
these models SPICE is skipped.

Flow: the captioning task calls `java_metrics` after `core.metrics.captions.scores`.
"""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.metrics.captions.text import tokens
from core.metrics.outcome import Floats

PACKAGE = "pycocoevalcap"
_SPICE_MODELS = "stanford-corenlp-3.6.0-models.jar"


@dataclass(frozen=True)
class JavaScores:
    """Corpus score and scores per caption of each metric that could run, and notes on the other metrics."""

    values: dict[str, float]
    per_caption: dict[str, Floats]
    notes: tuple[str, ...]


def missing_requirements() -> dict[str, str]:
    """METEOR and SPICE -> the reason why the metric cannot run; "" if it can."""
    if shutil.which("java") is None:
        reason = "Java is not installed"
        return {"METEOR": reason, "SPICE": reason}
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        reason = f"the package {PACKAGE} is not installed"
        return {"METEOR": reason, "SPICE": reason}
    folder = Path(next(iter(spec.submodule_search_locations)))
    no_meteor = f"the METEOR program of {PACKAGE} is missing"
    no_spice = f"Stanford's language models are missing in {PACKAGE}; run its SPICE once yourself to download them"
    return {
        "METEOR": "" if (folder / "meteor" / "meteor-1.5.jar").exists() else no_meteor,
        "SPICE": "" if (folder / "spice" / "lib" / _SPICE_MODELS).exists() else no_spice,
    }


def java_metrics(captions: Sequence[str], references: Sequence[Sequence[str]]) -> JavaScores:
    """METEOR and SPICE of ``captions``, each against its ``references`` (at least one)."""
    tokenised = {row: [" ".join(tokens(caption))] for row, caption in enumerate(captions)}
    tokenised_references = {row: [" ".join(tokens(text)) for text in texts] for row, texts in enumerate(references)}
    values: dict[str, float] = {}
    per_caption: dict[str, Floats] = {}
    notes = []
    for name, reason in missing_requirements().items():
        if not reason:
            try:
                values[name], per_caption[name] = _score(name, tokenised_references, tokenised)
                continue
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                reason = f"the Java program failed ({error})"
        notes.append(f"{name} was not computed: {reason}.")
    return JavaScores(values, per_caption, tuple(notes))


def _score(name: str, references: dict[int, list[str]], captions: dict[int, list[str]]) -> tuple[float, Floats]:
    module = importlib.import_module(f"{PACKAGE}.{name.lower()}.{name.lower()}")
    scorer: Any = getattr(module, name.capitalize())()
    value, scores = scorer.compute_score(references, captions)
    if name == "SPICE":
        scores = [entry["All"]["f"] for entry in scores]
    else:
        _close(scorer.meteor_p)
    return float(value), np.array(scores, dtype=np.float64)


def _close(process: subprocess.Popen[bytes]) -> None:
    """End the METEOR program and its pipes now, rather than when the scorer is garbage-collected."""
    process.kill()
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
