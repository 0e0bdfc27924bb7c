"""The two-stream model: towers, fusion, heads and the teacher that averages them."""
