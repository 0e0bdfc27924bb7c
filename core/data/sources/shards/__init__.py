"""WebDataset tars as a source: their names, our index of them, rows read as they are asked for, and writing them."""
