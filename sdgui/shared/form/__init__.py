"""The form, generated from RunConfig."""
