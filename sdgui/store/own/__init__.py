"""What is its user's own, and stays in the file at home beside a shared registry."""
