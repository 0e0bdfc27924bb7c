"""Runs of other tools: import into run folders, and export of runs to these tools.

Flow: ``finding.find_runs`` asks each reader of `READERS` what a folder or file holds -> `importing.Importer` writes
what a reader yields to run folders, once or continuously -> the window and ``sdgui-core runs`` see ordinary runs. A
reader is a module with ``find`` and ``read``. Foreign files are untrusted: nothing in them is executed or unpickled, no
network is contacted, and memory is bounded.
"""
