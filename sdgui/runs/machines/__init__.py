"""Machines and devices for runs: what each machine has free, and how a run is started there."""
