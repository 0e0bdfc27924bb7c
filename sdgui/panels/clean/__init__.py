"""The Clean panel: finds likely mislabelled pairs."""
