"""Configs, run folders, studies and machines, without torch and numpy: all of core that the window may import."""

import os

# Looking for pydantic plugins reads the metadata of every installed package, which takes as long as building the
# validators of a config.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
