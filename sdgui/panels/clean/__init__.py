"""The Noise panel: finds likely mislabelled pairs."""
