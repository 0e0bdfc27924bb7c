"""The context menus of the tree and of the table of runs; actions and panels name the one that they stand in."""

EXPERIMENT_MENU = "experiment"
RUN_MENU = "run"
STUDY_MENU = "study"
