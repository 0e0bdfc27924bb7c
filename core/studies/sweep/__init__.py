"""Hyperparameter search: Optuna proposes trials, which are trained as arms of a study.

Flow: ``sweep.json`` -> `searcher` (Optuna, in ``trials.journal``) <-> `queue` (a study's queue, extended by one
trial at a time) -> ``trials.json``, which the window and ``sweep show`` read. `run` starts, resumes and extends a
sweep; `confirm` retrains its best trials.
"""
