"""The list of pictures with their captions, and edits with undo."""
