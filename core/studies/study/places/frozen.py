"""A study as submitted to another machine: each arm a complete config, independent of the presets there.

Flow: ``Study`` -> `frozen_files` -> ``Host.submit_study`` -> files in the study's folder on that machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from core.spec.config import with_absolute_paths
from core.spec.study import DEMO, OPENCLIPART, Study


def frozen_files(study: Study) -> Mapping[str, str]:
    """``study.json`` and ``arms/DIGEST.json`` for each recipe. ConfigError for an invalid arm."""
    files: dict[str, str] = {}
    arms = []
    for arm in study.arms:
        text = with_absolute_paths(study.recipe(arm)).to_json()
        name = f"arms/{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"  # one file for equal recipes
        files[name] = text
        arms.append(arm.model_copy(update={"preset": "", "config": name, "set": []}))
    return {**files, "study.json": study.model_copy(update={"arms": arms, "set": []}).to_json()}


def user_data(study: Study) -> Mapping[str, str]:
    """Paths of the user's data by name, without demo data and clip art."""
    return {name: path for name, path in study.data.items() if not path.startswith((DEMO, OPENCLIPART))}
