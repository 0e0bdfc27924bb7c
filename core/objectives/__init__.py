"""What the student is trained on, each a loss over the student's and the teacher's outputs."""
