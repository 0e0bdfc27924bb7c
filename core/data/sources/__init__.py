"""Readers of CSV, JSON lines, COCO and folders: each yields rows of image, captions and labels."""
