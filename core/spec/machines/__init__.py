"""Machines that train runs: the list, the connection to each machine, and local mirrors of their runs.

Flow: ``Machine`` (from ``machine_list``) -> ``Connection`` (``ssh HOST sdgui-core remote``) -> ``answers``; ``mirror``
copies what a remote run appends to a local run folder. No Qt, no torch: the window and the command line share it.
"""
