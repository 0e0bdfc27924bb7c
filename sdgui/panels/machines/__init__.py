"""Machines: this computer and others, what each has, whether it works, how it launches; and the queue."""
