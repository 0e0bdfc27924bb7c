"""Views of images by student and teacher: requested from a worker, painted in a grid."""
