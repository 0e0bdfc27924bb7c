"""*Why this match?*: requests explanations of a match, and draws them beside the results."""
