"""What student and teacher are shown: crops, colours, RandAugment, masks, mixtures."""
