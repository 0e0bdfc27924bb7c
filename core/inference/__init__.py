"""Inference with an open model: embeddings, captions, relevance."""
