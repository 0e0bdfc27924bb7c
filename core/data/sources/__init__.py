"""From what a user has (CSV, JSON lines, COCO, folders) to rows of picture, captions and labels."""
