"""The study ``adapt-time``: fine-tuning recipes by what they gain and retain along the path to the initial weights.

Flow: config -> data (subsets, mismatched captions) -> cells (train, then evaluate the path) -> choosing -> results.
"""
