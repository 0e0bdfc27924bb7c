"""Reports: a page about selected runs with note, table, differing settings, curves and samples."""
