"""The table of runs: its fields, its filter language, and the queries behind it."""
