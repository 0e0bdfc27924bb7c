"""Talking to a worker process: a client, a pool of them, typed calls."""
