"""Pairs from the user's disk to batches of views: sources, decoding, cache, views, loader, demo set."""
