"""The basket of fixes opened: reviewed as pictures, applied to a copy of the data, retrained and compared."""
