"""Reports: a page about some runs, from their folders: note, table, settings that differ, curves, samples."""
