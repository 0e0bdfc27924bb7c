"""The basket of fixes opened: reviewed as images, applied to a copy of the data, retrained and compared."""
