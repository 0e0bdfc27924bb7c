"""What student and teacher see of some images: asked from a worker, painted in a grid, redrawn as settings move."""
