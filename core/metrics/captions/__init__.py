"""Captions against references: BLEU, ROUGE, CIDEr, METEOR, SPICE, and signs of degeneration."""
