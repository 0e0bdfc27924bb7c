"""How much each pair counts: the belief in it, the evidence for that, the trust in the teacher."""
