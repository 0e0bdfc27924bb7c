"""What several objectives share: centring, probabilities, queues, losses over a vocabulary."""
