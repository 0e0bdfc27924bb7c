"""The data sets made on this machine: OpenMoji's pictograms and Debian's openclipart."""
