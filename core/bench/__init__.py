"""Benchmarks: our code against a peer, alternating in one call because machines are shared and noisy."""
