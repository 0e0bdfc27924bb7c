"""The images of README, made anew by one command: every panel of a small trained study, light and dark."""
