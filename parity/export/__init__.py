"""ONNX files: what is written in them, running them with onnxruntime, and the check against both frameworks."""
