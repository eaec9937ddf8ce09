"""From a model to the bytes of an ONNX file: traced with the TorchScript exporter, checked, its metadata put in."""

import io
import warnings

import onnx
import torch
from torch import Tensor, nn

from parity.errors import UserError
from parity.export.contract import OPSET
from torch_impl.export.heads import HEADS, Detections, RawOutputs
from torch_impl.export.operators import stable_sorts
from torch_impl.models.interface import Detector
from torch_impl.models.rtdetr import decoder, encoder

SAMPLE = 160, 224  # height and width that a graph of any size is traced with
OTHER = 320, 480  # another size, at which every map has another height and width than at the first
CACHED = (encoder.position_table, decoder.make_anchors)  # the tables that they keep for a size would become constants


def graph(
    name: str,
    model: Detector,
    post: bool,
    batch: int | None,
    size: tuple[int, int] | None,
    metadata: dict[str, str],
) -> bytes:
    """An ONNX file of `model`, which is called `name`: with post-processing (`post`), or its raw outputs.

    batch: images of a batch, None for any number; size: (height, width) of the images, None for any. Raises UserError
    where the model does not run at that size, for example because it has fewer places than queries.
    """
    head = HEADS[name](model)
    module = (Detections(head) if post else RawOutputs(head)).eval()
    written = _traced(module, batch, size)
    for key, value in metadata.items():
        written.metadata_props.add(key=key, value=value)
    written.producer_name, written.graph.name = "detector-parity", f"{name}{'' if post else '-raw'}"
    try:
        onnx.checker.check_model(written, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise UserError(f"{name}: the graph that was traced is no valid ONNX: {error}") from error
    return written.SerializeToString(deterministic=True)


def _sample(batch: int | None, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Images and sizes to trace with. Two images stand for any number, as an axis of length 1 may be broadcast."""
    images = torch.zeros(batch or 2, 3, *size)
    return images, torch.tensor([size]).expand(len(images), 2).contiguous()


@torch.no_grad()
def _traced(module: nn.Module, batch: int | None, size: tuple[int, int] | None) -> onnx.ModelProto:
    """The model from PyTorch's exporter; every axis of inputs and outputs has a name or its length."""
    arguments = _sample(batch, size or SAMPLE)
    shapes = [tuple(x.shape) for x in module(*arguments)]
    other = shapes if size else [tuple(x.shape) for x in module(*_sample(batch, OTHER))]
    axes = {"images": {} if size else {2: "height", 3: "width"}, "sizes": {}}
    for output, first, second in zip(module.names, shapes, other, strict=True):
        pairs = enumerate(zip(first, second, strict=True))
        axes[output] = {axis: f"{output}_{axis}" for axis, (a, b) in pairs if a != b}
    if batch is None:
        axes = {key: value | {0: "batch"} for key, value in axes.items()}
    buffer = io.BytesIO()
    with warnings.catch_warnings(), stable_sorts(OPSET):
        # Decisions of Python become constants in the trace; here they are checks of shapes. The exporter is the older
        # of two.
        for kind in (torch.jit.TracerWarning, DeprecationWarning, UserWarning):
            warnings.simplefilter("ignore", kind)
        for cache in CACHED:
            cache.cache_clear()
        torch.onnx.export(
            module, arguments, buffer, dynamo=False, opset_version=OPSET, dynamic_axes=axes,
            input_names=["images", "sizes"], output_names=module.names,
        )  # fmt: skip
        for cache in CACHED:  # cached tensors of the trace are of no use outside it
            cache.cache_clear()
    model = onnx.load_model_from_string(buffer.getvalue())
    for output, shape in zip(model.graph.output, shapes, strict=True):  # the exporter's own names are not readable
        for axis, (dim, length) in enumerate(zip(output.type.tensor_type.shape.dim, shape, strict=True)):
            dim.Clear()
            if axis in axes[output.name]:
                dim.dim_param = axes[output.name][axis]
            else:
                dim.dim_value = length
    return model
