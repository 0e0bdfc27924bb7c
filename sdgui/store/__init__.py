"""The database of experiments and runs; ``sdgui.store.store.Store`` is its only interface."""
