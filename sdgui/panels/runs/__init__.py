"""The Runs panel: live curves, samples and the event log of runs."""
