"""The Noise panel: pairs ranked by how little a run believes their captions."""
