"""Why an image matches the words: what is drawn beside the results, and what is asked for it."""
