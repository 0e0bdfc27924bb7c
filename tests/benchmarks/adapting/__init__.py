"""The study ``adapt-time``: gain and retention of fine-tuning recipes along the path from the initial weights.

Flow: config -> data (subsets, mismatched captions) -> cells (train, then evaluate the path) -> tuning -> results.
"""
