"""The Classify panel's desk in the worker."""
