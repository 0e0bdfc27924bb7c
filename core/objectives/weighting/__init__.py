"""How much each pair counts: evidence that it matches, weights from that evidence, the teacher's trust."""
