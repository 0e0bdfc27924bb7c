"""The Classify panel: zero-shot, probes, confusion, mistakes, single images."""
