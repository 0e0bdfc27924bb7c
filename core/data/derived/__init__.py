"""New sources made from old ones: with wrong captions mixed in, or with doubtful pairs left out."""
