"""The tree of experiments and runs, and the commands on them."""
