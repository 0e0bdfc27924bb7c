"""The Search panel: one or two models, an index each, words and pictures as queries."""
