"""The session that answers for data sources: what they hold, their rows, their views, new sources made of them."""
