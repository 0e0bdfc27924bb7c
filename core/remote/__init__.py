"""The program ``sdgui-core remote`` on a machine, which serves requests on its pipes, usually through ssh. No torch.

Flow: requests on stdin -> ``server`` -> ``probe``, ``starting``, ``following`` ... -> replies on stdout. The server
ends with its connection; runs that it started continue.
"""
