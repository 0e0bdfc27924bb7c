"""Parts of a step, and of what is told of it: the student, batches on the device, the guard, reports, utilisation."""
