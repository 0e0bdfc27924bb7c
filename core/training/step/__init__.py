"""Parts of a training step: the student, batches on the device, the guard, reports, utilisation."""
