"""Teachers: moving averages of the student, and frozen networks."""
