"""Studies: arms times seeds, trained for equal steps, measured alike and compared with their spread.

Flow: STUDY.json (``format``) -> data with the noise that is asked for (``noisy``) -> a queue of trainers (``queue``,
each a process of ``job``) -> measures of each run -> ``results`` -> ``table`` and ``plot``.
"""
