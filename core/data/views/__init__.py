"""Views for student and teacher: crops, colour distortions, RandAugment, masks, interpolation."""
