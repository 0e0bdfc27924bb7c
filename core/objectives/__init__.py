"""The losses that the student is trained on, one per module, over its outputs and the teacher's."""
