"""An exported file in onnxruntime, with the same stages as a framework."""

import json
from pathlib import Path

import numpy as np

from parity.errors import UserError
from parity.export.contract import DETECTIONS
from parity.framework import Batch, Detections


class Session:
    """One file, on the CPU. Raises UserError for a file that onnxruntime cannot read or that was not exported here."""

    def __init__(self, path: str | Path, threads: int | None = None):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a class of its own for each status
            raise UserError(f"{path}: onnxruntime cannot read it: {error}") from error
        self.metadata = dict(self.session.get_modelmeta().custom_metadata_map)
        if "weights_sha256" not in self.metadata:
            raise UserError(f"{path}: has no metadata of an exported model")
        self.metadata |= {"onnxruntime": onnxruntime.__version__}
        self.inputs = {entry.name for entry in self.session.get_inputs()}
        self.outputs = [entry.name for entry in self.session.get_outputs()]
        self.batch = None if self.metadata["batch"] == "any" else int(self.metadata["batch"])

    @property
    def preprocess(self) -> dict:
        """How an image becomes the input: `parity.export.contract.describe`."""
        return json.loads(self.metadata["preprocess"])

    def run(self, batch: Batch) -> dict[str, np.ndarray]:
        """Outputs by name. A file of a fixed batch is given the images again and again until there are as many."""
        count = len(batch.images)
        images, sizes = batch.images, batch.sizes
        if self.batch is not None and self.batch != count:
            if count > self.batch:
                raise UserError(f"a batch of {count} images does not fit the file, which takes {self.batch}")
            fill = np.arange(self.batch) % count
            images, sizes = images[fill], sizes[fill]
        given = {"images": images, "sizes": sizes}
        found = self.session.run(None, {name: given[name] for name in self.inputs})
        return {name: array[:count] for name, array in zip(self.outputs, found, strict=True)}

    def predict(self, batch: Batch) -> list[Detections]:
        """Detections of each image of a batch. The file must be one with post-processing."""
        if self.metadata["outputs"] != DETECTIONS:
            raise UserError("this file holds raw outputs; detections are in the one without -raw in its name")
        found = self.run(batch)
        parts = [found[name] for name in ("boxes", "scores", "labels")]
        return [Detections(*(part[i][:n] for part in parts)) for i, n in enumerate(found["counts"])]
