"""Captions from pictures: exact decoding with cached keys and values, for every CoCa architecture of open_clip.

Flow: ``settings.GenerationSettings`` (torch-free, a form is built from it) and a batch of pictures go into
``captions.generate`` or, step by step, ``captions.caption_steps``. The picture is encoded once; ``coca.CocaDecoder``
runs one token a row through the text tower and the multimodal decoder on the keys and values kept in ``cache``; a
search (``independent``: greedy and sampling, ``beams``: beam and diverse beam search) decides which rows live on.

Only ``settings`` may be imported by the window; everything else loads torch.
"""
