"""The Caption panel: caption dropped images, edit and export the captions."""
