"""The Classify panel's session in the worker: a model on labelled images, measured, tried and applied.

Flow: panel -> worker -> ``session`` -> ``opened`` (model and data as features, cached) -> metrics -> ``results``
(plain data) -> panel; ``trying`` takes single images, ``applying`` whole folders.
"""
