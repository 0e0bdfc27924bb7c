"""The image and text towers. Only this package knows open_clip."""
