"""The Search panel: one or two models, an index each, words and images as queries."""
