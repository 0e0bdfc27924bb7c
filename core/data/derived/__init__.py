"""Sources derived from others: with mismatched captions mixed in, with fixes, or without doubtful pairs."""
