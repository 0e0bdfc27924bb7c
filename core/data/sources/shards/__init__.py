"""WebDataset tars as a source: an index of each tar, rows read on demand, and writing tars."""
