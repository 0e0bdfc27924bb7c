"""The program on a machine: ``sdgui-core remote``, asked over its pipes, usually through ssh. It loads no torch.

Flow: requests on stdin -> ``server`` -> ``probe``, ``starting``, ``following`` ... -> replies on stdout. It ends with
its line; what it started goes on.
"""
