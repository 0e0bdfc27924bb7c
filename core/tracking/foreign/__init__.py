"""Runs of other tools, both ways: their files become run folders, and runs are written as files for these tools.

Flow: ``finding.find_runs`` asks each reader of `READERS` what a folder or file holds -> `importing.Importer` writes
what a reader yields to run folders, whole or live -> the window and ``sdgui-core runs`` see ordinary runs. A reader is
a module with ``find`` and ``read``. Foreign files are untrusted: nothing in them is executed or unpickled, no network
is contacted, and memory is bounded.
"""
