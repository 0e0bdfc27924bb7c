"""What a look at a source tells: figures of its captions and labels, duplicates, leaks between splits, broken files."""
