"""Captions against references: BLEU, ROUGE, CIDEr, METEOR and SPICE; degenerate captions."""
