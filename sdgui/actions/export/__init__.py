"""*Export model*: writes a run's model in another program's format, in a separate process."""
