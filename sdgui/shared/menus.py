"""The context menus of the tree and of the table of runs; actions and panels refer to these names."""

EXPERIMENT_MENU = "experiment"
RUN_MENU = "run"
STUDY_MENU = "study"
