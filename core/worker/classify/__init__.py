"""The Classify panel's session in the worker: evaluation and use of a model on labelled images.

Flow: panel -> worker -> ``session`` -> ``opened_data`` (model and data as features, cached) -> metrics -> ``results``
(plain data) -> panel; ``trying`` handles single images, ``applying`` folders.
"""
