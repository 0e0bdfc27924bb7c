"""Saves edits of configs: drafts, pending writes, and the config that each edit started from.

Flow: form -> ``write`` -> the window's ``StoreWriter``; a draft in the settings keeps an edit until the store has it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

from core.spec.config import RunConfig
from core.spec.errors import UserError
from sdgui.shared.services import Services
from sdgui.shared.stored_json import parse_stored
from sdgui.store.records import Experiment


class ConfigSaver:
    """Saves drafts and configs. ``unsaved``: experiments with edits that the store does not have yet, by id."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._base_configs: dict[int, str] = {}  # experiment id -> stored config that its edits replace
        self.unsaved: dict[int, Experiment] = {}

    def stored(self, experiment_id: int) -> Experiment:
        """The experiment with its submitted edits. Raises StoreError if the experiment does not exist."""
        return self.unsaved.get(experiment_id) or self._services.store.experiment(experiment_id)

    def begin(self, experiment: Experiment) -> dict[str, str]:
        """Start editing ``experiment``; returns its draft (field -> typed text), empty if it has none.

        A draft may be older than the stored config: the config that it was based on is then kept, so that ``write``
        notices the change.
        """
        draft = self._draft(experiment.id)
        if draft:
            self._base_configs.setdefault(experiment.id, experiment.config_json)
        else:
            self.set_base_config(experiment.id, experiment.config_json)
        return draft

    def set_base_config(self, experiment_id: int, config_json: str) -> None:
        """Set the stored config that the edits replace; ``write`` fails if the store has another one."""
        self._base_configs[experiment_id] = config_json

    def _draft(self, experiment_id: int) -> dict[str, str]:
        fields = parse_stored(self._services.settings.value(f"drafts/{experiment_id}"), dict)
        return {str(name): str(typed) for name, typed in fields.items()}

    def keep_draft(self, experiment_id: int, fields: Mapping[str, str]) -> None:
        """Save invalid edits as a draft, until ``drop_draft``."""
        self._services.settings.setValue(f"drafts/{experiment_id}", json.dumps(fields))

    def drop_draft(self, experiment_id: int) -> None:
        """Discard the draft, unless its edits are being written to the store."""
        if experiment_id not in self.unsaved:
            self._services.settings.remove(f"drafts/{experiment_id}")

    def write(
        self,
        experiment: Experiment,
        config: RunConfig,
        done: Callable[[Experiment, Experiment], object],
        failed: Callable[[Experiment, UserError], object],
    ) -> Experiment:
        """Submit ``config``; returns the edited experiment, the first argument of ``done`` and ``failed``.

        ``failed`` gets ChangedElsewhereError if another window has changed the config since this edit began.
        """
        edited = replace(experiment, config=config, config_json=config.to_json(), name=config.name)
        self.unsaved[experiment.id] = edited

        def write() -> Experiment:
            stored = self._services.store.edit_experiment(experiment.id, config, self._base_configs[experiment.id])
            self.set_base_config(experiment.id, stored.config_json)
            return stored

        def on_written(stored: Experiment) -> None:
            if self._forget_pending(edited):
                self.drop_draft(stored.id)
            done(edited, stored)

        def on_refused(error: UserError) -> None:
            self._forget_pending(edited)
            failed(edited, error)

        self._services.writer.submit(write, on_written, on_refused)
        return edited

    def _forget_pending(self, edited: Experiment) -> bool:
        """Forget ``edited`` if no later edit of the experiment is pending; returns whether it was forgotten."""
        is_latest = self.unsaved.get(edited.id) is edited
        if is_latest:
            del self.unsaved[edited.id]
        return is_latest
