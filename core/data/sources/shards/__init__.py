"""WebDataset tars as a source: indexing tars, reading rows on demand, and writing tars."""
