"""The server on a remote machine: ``sdgui-core remote``, with requests on its pipes, usually through ssh. No torch.

Flow: requests on stdin -> ``server`` -> ``probe``, ``starting``, ``following`` ... -> replies on stdout. The server
ends with its connection; runs that it started continue.
"""
