"""The context menus of the tree of experiments; actions and panels name the one that they stand in."""

EXPERIMENT_MENU = "experiment"
RUN_MENU = "run"
STUDY_MENU = "study"
