"""Benchmarks of this package against another implementation, alternating because machines are shared and noisy."""
