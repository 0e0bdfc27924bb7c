"""Chains: runs trained one after another, each using results of those before.

Flow: CHAIN.json, or a staged preset -> ``run`` trains the stages in order; ``bootstrap`` filters captions between two
stages.
"""
