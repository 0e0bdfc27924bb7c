"""Running code of the user's own: what a run may load, and errors that name the line in it."""
