"""What student and teacher see of some pictures: asked from a worker, painted in a grid, redrawn as settings move."""
