"""The dialog of the basket: review fixes as images, apply them to a copy of the data, retrain and compare."""
