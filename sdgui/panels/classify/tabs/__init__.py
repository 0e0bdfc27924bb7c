"""The tabs of the Classify panel, one module each."""
