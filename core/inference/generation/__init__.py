"""Captions from images: exact decoding with cached keys and values, for every CoCa architecture of open_clip.

Flow: ``core.spec.generation.GenerationSettings`` (torch-free, a form is built from it) and a batch of images go into
``captions.generate`` or, step by step, ``captions.caption_steps``. The image is encoded once; ``coca.CocaDecoder``
runs one token per row through the text tower and the multimodal decoder on cached keys and values
(``core.model.towers``); a
search (``independent``: greedy and sampling, ``beams``: beam search) decides which rows go on.
"""
