"""The table of runs: its fields, its filter language, and its queries."""
