"""The query of Search: words, images, filters and history."""
