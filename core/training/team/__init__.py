"""The ranks of a run as a team: what they agree on, how their weights lie, what ends them; the requests of signals."""
