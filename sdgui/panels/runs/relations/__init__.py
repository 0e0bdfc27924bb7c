"""How settings and metrics of many runs go together: a scatter of two, parallel coordinates of several."""
