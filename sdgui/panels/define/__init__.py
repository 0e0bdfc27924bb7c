"""The Define panel: an experiment as a form, with its preset, differences and advice."""
