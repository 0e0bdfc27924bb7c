"""The session for data sources: content, rows, views, checks, and derived sources."""
