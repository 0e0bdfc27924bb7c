"""The Home panel: active, finished and failed runs, and three ways to start."""
