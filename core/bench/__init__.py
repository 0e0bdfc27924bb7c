"""Benchmarks: ours against a peer in the same call, alternating, since machines are shared and noisy."""
