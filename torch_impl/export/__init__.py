"""Models as ONNX files: `python -m torch_impl.export`. Only PyTorch writes them, Jittor's weights included.

Training reads nothing of this folder, so an edit here makes no run stale (`parity.sources.framework_files`).
"""
