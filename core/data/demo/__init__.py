"""Demo data sets: OpenMoji's emoji and Debian's openclipart."""
