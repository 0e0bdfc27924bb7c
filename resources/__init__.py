"""What comes with the program besides code; `core.spec.resources` finds it."""
