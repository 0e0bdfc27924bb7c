"""Features that stay near the initial model's: of given texts or images that are not training data."""
