"""What student and teacher see: crops, colours, RandAugment, masks, mixtures."""
