"""How the lines of a plot become pixels: extremes by column, coverage, images."""
