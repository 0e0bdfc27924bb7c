"""The query: words, pictures, filters and history."""
