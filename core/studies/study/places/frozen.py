"""A study as it is sent to another machine: each arm a whole config, whatever the presets there say.

Flow: ``Study`` -> ``frozen_files`` -> ``Host.submit_study`` -> files in the study's folder there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from core.spec.config import with_absolute_paths
from core.spec.study import DEMO, OPENCLIPART, Study


def frozen_files(study: Study) -> Mapping[str, str]:
    """``study.json`` and ``arms/DIGEST.json`` for each recipe. ConfigError for an arm that cannot be used."""
    files: dict[str, str] = {}
    arms = []
    for arm in study.arms:
        text = with_absolute_paths(study.recipe(arm)).to_json()
        name = f"arms/{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"  # one file for equal recipes
        files[name] = text
        arms.append(arm.model_copy(update={"preset": "", "config": name, "set": []}))
    return {**files, "study.json": study.model_copy(update={"arms": arms, "set": []}).to_json()}


def own_data(study: Study) -> Mapping[str, str]:
    """The user's data, by name, without what a study renders for itself."""
    return {name: path for name, path in study.data.items() if not path.startswith((DEMO, OPENCLIPART))}
