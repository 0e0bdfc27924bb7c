"""Where the runs of a study are trained: this computer and other machines, one run a free device.

Flow: ``core.studies.study.queue`` asks each place for a free device -> ``begin`` -> looks until the run has ended. On
another machine ``there`` does what ``core.studies.study.job`` does here, so that a study's table is the same anywhere.
"""
