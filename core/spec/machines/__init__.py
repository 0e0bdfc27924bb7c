"""Machines that runs are trained on: the list, the connection to each, and the runs there, mirrored into folders here.

Flow: ``Machine`` (from ``machine_list``) -> ``Connection`` (``ssh HOST sdgui-core remote``) -> ``answers``; ``mirror``
writes what a run there appends into a run folder here. No Qt, no torch: window and verbs share it.
"""
