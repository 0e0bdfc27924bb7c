"""The Caption panel: pictures dropped, captioned, edited and exported."""
