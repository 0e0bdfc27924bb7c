"""The query: words, images, filters and history."""
