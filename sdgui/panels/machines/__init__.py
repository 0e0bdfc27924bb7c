"""Machines: this computer and others, their hardware, checks and launch settings; and the queue."""
