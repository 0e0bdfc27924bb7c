"""Teachers: moving averages of the student, custom update rules, and frozen networks."""
