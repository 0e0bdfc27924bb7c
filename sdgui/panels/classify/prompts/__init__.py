"""The prompt editor next to the confusion matrix, and its draft with undo."""
