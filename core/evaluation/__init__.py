"""A model and a data set measured: classification, retrieval, captioning, noise; reports and their comparison."""
