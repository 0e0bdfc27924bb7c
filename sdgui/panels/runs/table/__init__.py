"""The table of all runs: its rows and cells, the filter, groups, saved views, and edits of many."""
