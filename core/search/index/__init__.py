"""Images and captions as vectors on disk, and the nearest first: made once, added to, searched while it grows.

Flow: source -> scanning -> build (encoding ahead) -> storage <- collection <- queries, results <- verbs and worker.
"""
