"""Machines and devices for runs: free devices of each machine, and starting a run there."""
