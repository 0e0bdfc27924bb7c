"""Coordination of the ranks of a run: agreement, sharding, failure handling, signals."""
