"""An index on disk: vectors of images and captions, with incremental updates and nearest-neighbour search.

Flow: source -> scan -> build (encoding ahead) -> storage <- collection <- queries, results <- verbs and worker.
"""
