"""Search in an index: queries, filters, results, calibration, evaluation, the map."""
