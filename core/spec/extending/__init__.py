"""References to custom code in a config, the settings of custom objectives, and the kinds of teacher. Runs no code."""
