"""Popovers under a button, and buttons that show the choice made in a popover."""
