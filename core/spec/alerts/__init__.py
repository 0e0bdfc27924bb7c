"""Alerts: rules on the events of runs, and notifications; used by the window and by ``runs watch``.

The rules are the user's own, in ``alerts.json`` of the home folder, never in a run folder.
"""
