"""The Search panel: one or two models with an index each; words and images as queries."""
