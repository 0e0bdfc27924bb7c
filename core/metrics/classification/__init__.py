"""Classification from features: zero-shot, linear probe, k-nearest neighbours, few-shot."""
