"""Experiments with several runs: studies (arms over seeds), sweeps, and chains (stages that build on each other)."""
