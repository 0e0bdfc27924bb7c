"""Evaluation of a model on a data set: classification, retrieval, captioning, noise; reports and their comparison."""
