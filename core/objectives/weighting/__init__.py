"""The weight of each pair: evidence that it matches, weights from that evidence, the teacher's trust."""
