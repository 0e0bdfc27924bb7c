"""Scores of captions against references (BLEU, ROUGE, CIDEr, METEOR, SPICE), and degenerate captions."""
