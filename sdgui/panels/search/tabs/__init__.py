"""The evaluation, the map, and queries with known answers."""
