"""The table of all runs: what can be shown of them, the language of its filter, and the queries behind it."""
