"""Trained models for other programs: open_clip's folder, transformers' folder, ONNX, each with a model card."""
