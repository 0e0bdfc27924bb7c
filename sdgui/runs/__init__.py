"""Runs in separate processes: starts and stops them, and follows their folders."""
