"""From what a user has (CSV, JSON lines, COCO, folders) to rows of image, captions and labels."""
