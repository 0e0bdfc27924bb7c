"""Start of the program, and the main window with its panels."""
