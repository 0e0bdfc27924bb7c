"""From images and words to vectors and captions, by a model that is already open."""
