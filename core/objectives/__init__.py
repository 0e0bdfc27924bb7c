"""The training losses, one per module, computed from the outputs of student and teacher."""
