"""Shared by the panels: their interface, services, messages, background tasks."""
