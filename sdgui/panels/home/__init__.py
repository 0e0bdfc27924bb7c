"""The Home panel: what trains now, what ended, what failed, and three ways to begin."""
