"""Configs, run folders, studies and machines, without torch and numpy: all of core that the window may import."""

import os

# Plugins of pydantic watch validation, and looking for them reads the metadata of every installed package: as long as
# building the validators of a config.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
