"""The index: vectors of images and captions on disk, with incremental updates and nearest-neighbour search.

Flow: source -> scan -> build (encoding ahead) -> storage <- collection <- queries, results <- verbs and worker.
"""
