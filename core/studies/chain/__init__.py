"""Chains: runs that are trained one after another, each with results of the previous runs.

Flow: CHAIN.json, or a staged preset -> ``run`` trains the stages in order; ``bootstrap`` filters captions between two
stages.
"""
