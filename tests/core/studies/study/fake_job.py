"""Stands in for a job of a study: instead of training it writes measures that follow from arm and seed."""

import json
import os
import sys
import time
from pathlib import Path

out, arm, seed, steps = sys.argv[1:]
folder = Path(out) / "runs" / f"{arm}-s{seed}"
with (Path(out) / "calls.txt").open("a") as calls:
    calls.write(f"{arm} {seed} {steps}\n")
with (Path(out) / "devices.txt").open("a") as devices:
    devices.write(f"{arm} {os.environ.get('CUDA_VISIBLE_DEVICES', '')}\n")
if arm == "broken" and not (Path(out) / "mended").exists():
    print("error: it is broken", file=sys.stderr)
    sys.exit(1)
if arm == "slow":
    while not (Path(out) / "go").exists():
        time.sleep(0.02)
value = {"base": 0.4, "better": 0.5}.get(arm, 0.45) + 0.01 * int(seed)
measures = {
    "version": 1,
    "arm": arm,
    "seed": int(seed),
    "steps": int(steps),
    "step_seconds": {"better": 0.2}.get(arm, 0.1),
    "train_seconds": int(steps) * {"better": 0.2}.get(arm, 0.1),
    "pairs": 10,
    "parameters": 1,
    "networks": {"student": {"val/R@1": value}} | ({"teacher": {"val/R@1": value + 0.1}} if arm == "better" else {}),
    "notes": [],
}
(folder / "exports" / "measures.json").write_text(json.dumps(measures))
