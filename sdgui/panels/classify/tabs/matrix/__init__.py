"""The confusion matrix: its cells, its painting, its widget."""
