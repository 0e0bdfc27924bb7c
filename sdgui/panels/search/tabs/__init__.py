"""What Search shows beside results: evaluation, the map, queries with known answers."""
