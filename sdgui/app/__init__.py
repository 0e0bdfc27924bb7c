"""Starting the program, and the main window around the panels."""
