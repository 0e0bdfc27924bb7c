"""The training step, the loop around it, schedules, validation and progress."""
