"""The Study panel: defines, runs and compares arms over several seeds."""
