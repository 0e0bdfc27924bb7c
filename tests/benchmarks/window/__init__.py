"""The window's own figures: start, event to curve, redraw, drops, search, confusion matrix."""
