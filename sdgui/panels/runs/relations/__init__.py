"""Relations between settings and metrics of many runs: a scatter plot and parallel coordinates."""
