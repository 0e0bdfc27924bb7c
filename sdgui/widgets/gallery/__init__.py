"""Pictures in a grid, with thumbnails and a large view."""
