"""Search over settings: Optuna proposes trials, which are trained as arms of a study.

Flow: ``sweep.json`` -> `searcher` (Optuna, in ``trials.journal``) <-> `queue` (the study's queue, grown trial by trial)
-> ``trials.json``, which the window and ``sweep show`` read. `run` starts, extends and confirms a sweep.
"""
