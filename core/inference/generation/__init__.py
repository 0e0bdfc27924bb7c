"""Caption generation with key-value caches, for every CoCa architecture of open_clip.

Flow: ``captions.generate`` (or ``captions.caption_steps`` for one token at a time) receives
``core.spec.generation.GenerationSettings`` and a batch of images. Each image is encoded once; ``coca.CocaDecoder`` runs
one token per row through the text tower and the multimodal decoder, with cached keys and values
(``core.model.towers``). A search (``independent``: greedy and sampling, ``beams``: beam search) decides which rows
continue.
"""
