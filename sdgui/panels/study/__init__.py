"""The Study panel: arms over seeds, defined, run and compared."""
