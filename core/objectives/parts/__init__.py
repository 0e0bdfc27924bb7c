"""Parts shared by objectives: centring, probabilities, queues, losses over a vocabulary."""
