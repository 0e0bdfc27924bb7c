"""What comes with the program besides code; `core.resources` finds it."""
