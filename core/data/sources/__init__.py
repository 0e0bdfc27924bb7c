"""Readers for CSV, JSON lines, COCO and folders: each returns rows with an image, captions and labels."""
