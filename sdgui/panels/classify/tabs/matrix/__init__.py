"""The confusion matrix: cells, painting and widget."""
