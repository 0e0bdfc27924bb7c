"""Exports trained models as open_clip folder, transformers folder or ONNX, with a model card."""
