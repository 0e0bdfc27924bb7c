"""Chains: runs in order, each of which takes something from those before it.

Flow: CHAIN.json (``format`` reads it, or makes it from a staged preset) -> ``run`` trains the stages one after another;
``bootstrap`` and ``ensemble`` do what lies between and after them.
"""
