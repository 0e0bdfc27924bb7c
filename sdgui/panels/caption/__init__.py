"""The Caption panel: images dropped, captioned, edited and exported."""
