"""*Why this match?*: requests explanations of a match and shows them below the results."""
