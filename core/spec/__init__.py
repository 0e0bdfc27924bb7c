"""What an experiment is and what a run writes. No torch and no numpy: all of core that the window may import."""

import os

# Plugins of pydantic watch validation, and looking for them reads the metadata of every installed package: as long as
# building the validators of a config.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
