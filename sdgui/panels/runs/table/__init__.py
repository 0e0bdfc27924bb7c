"""The table of runs: rows and cells, filter, groups, saved views, and bulk edits."""
