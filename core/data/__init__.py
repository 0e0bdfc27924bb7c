"""From pairs on disk to batches of views: sources, decoding, cache, views, loader, demo set."""
