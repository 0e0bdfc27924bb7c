"""Places that train the runs of a study: this computer and other machines, with one run per free device.

Flow: ``core.studies.study.queue`` asks each place for a free device -> ``begin`` -> polls until the run has ended. On
another machine ``remote_main`` runs the same ``core.studies.study.job``, so that results do not depend on the place.
"""
