"""A store with a few runs whose settings, metrics and tags are known."""

from __future__ import annotations

from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.store.records import MetricSummary, Progress
from sdgui.store.store import Store

RATES = (1e-4, 1e-3, 2e-3)
SEEDS = (0, 1, 2)
TEACHER = "val/teacher/image_to_text_R@1"
STUDENT = "val/student/image_to_text_R@1"


def recall(rate: float, seed: int) -> float:
    return round(0.3 + 50 * rate + 0.01 * seed, 4)


def fill(store: Store) -> list[int]:
    """Add nine runs, three learning rates with three seeds; returns their ids, grouped by rate."""
    ids = []
    for rate in RATES:
        for seed in SEEDS:
            config = override(preset_config("sd-clip", "tiny"), [f"optim.learning_rate={rate}", f"seed={seed}"])
            run = store.add_run(store.add_experiment(config, f"rate {rate}").id)
            best = recall(rate, seed)
            summaries = {
                "train/loss": MetricSummary(1.0 + seed, 10, 0.5 + rate, 8),
                STUDENT: MetricSummary(best - 0.1, 10, best - 0.05, 5),
                TEACHER: MetricSummary(best - 0.02, 10, best, 5),
            }
            state = RunState.FAILED if (rate, seed) == (2e-3, 2) else RunState.DONE
            training_seconds = 60.0 * (seed + 1)
            store.record(
                run.id, Progress(state, 1, 10, 10, 100.0, 900.0, summaries=summaries, training_seconds=training_seconds)
            )
            ids.append(run.id)
    store.tag_run(ids[0], ["paper", "Zürich"])
    store.tag_run(ids[4], ["Paper"])
    store.set_run_note(ids[8], "100% of the memory_limit")
    return ids
