"""A sweep in the Study panel: its trials as a table and as plots."""
