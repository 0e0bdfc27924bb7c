"""The list of images with their captions, and edits with undo."""
