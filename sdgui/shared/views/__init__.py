"""The views of student and teacher of some images: requested from a worker, painted in a grid."""
