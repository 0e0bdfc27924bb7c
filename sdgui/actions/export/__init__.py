"""*Export model*: a run's model written for other programs, by a program of its own."""
