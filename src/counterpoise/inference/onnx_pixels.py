"""ONNX graph from a decoded image to the input of a network: gray values, size and scale, bit for bit as by Pillow.

Pillow resamples one axis after the other: weights of 22 bits, sums of integers, each pass rounded to 8 bits. ``Resize``
of ONNX does neither, so each pass is a product with a matrix of these weights, in three bytes each.
"""

# mypy: disable-error-code="no-untyped-def, misc"
from __future__ import annotations

from typing import Any

import PIL
from onnxscript import FLOAT, UINT8, opset18, script
from onnxscript.optimizer import optimize
from onnxscript.values import Opset

from counterpoise.config import Fit

op: Any = opset18
_DOMAIN = Opset("counterpoise", 1)
# Since version 13, Pillow begins with the axis along which an image shrinks by more than twice as many pixels.
_ROWS_FIRST_SINCE = 13
# Element types of ONNX: 1 float, 2 uint8, 6 int32, 7 int64, 11 double.


@script(_DOMAIN, default_opset=op)
def _weights(first, last, count, inside, offset, size):
    """Return the weights (count, 3 * size) of `count` pixels in `inside` output pixels from `offset` on."""
    first32, last32 = op.Cast(first, to=1), op.Cast(last, to=1)
    scale = op.Cast(last32 - first32, to=11) / op.Cast(inside, to=11)
    zero = op.CastLike(0.0, scale)
    support = op.Max(scale, op.CastLike(1.0, scale))
    row = op.Range(0, size, 1) - offset
    center = op.Unsqueeze(op.Cast(first32, to=11) + (op.Cast(row, to=11) + 0.5) * scale, [1])
    column = op.Cast(op.Range(0, op.Squeeze(count), 1), to=11)
    start, end = op.Floor(center - support + 0.5), op.Floor(center + support + 0.5)
    triangle = op.Max(1.0 - op.Abs((column - center + 0.5) * (1.0 / support)), zero)
    weight = op.Where(op.And(column >= start, column < end), triangle, zero)
    whole = op.Cast(weight / op.ReduceSum(weight, [1]) * 4194304.0 + 0.5, to=7)
    covered = op.Unsqueeze(op.And(row >= 0, row < inside), [1])
    whole = op.Where(covered, whole, op.CastLike(0, whole))
    upper = whole / 256
    digits = op.Concat(whole % 256, upper % 256, upper / 256, axis=0)
    return op.Transpose(op.Cast(digits, to=2), perm=[1, 0])


@script(_DOMAIN, default_opset=op)
def _resampled(planes, weights):
    """Resample the last axis of (N, C, A, B) and return (N, C, B', A)."""
    low, middle, high = op.Split(op.MatMulInteger(planes, weights), num_outputs=3, axis=-1)
    total = (high * 256 + middle) * 256 + low
    return op.Transpose(op.Cast((total + 2097152) / 4194304, to=2), perm=[0, 1, 3, 2])


@script(_DOMAIN, default_opset=op)
def _color(images):
    return op.Transpose(images, perm=[0, 3, 1, 2])


@script(_DOMAIN, default_opset=op)
def _gray(images):
    luma = op.Cast(op.Constant(value_ints=[19595, 38470, 7471]), to=6)
    total = op.ReduceSum(op.Cast(images, to=6) * luma, [3])
    return op.Transpose(op.Cast((total + 32768) / 65536, to=2), perm=[0, 3, 1, 2])


# Each fit returns, of rows and of columns: start and end of the used part, length and offset of the result.
@script(_DOMAIN, default_opset=op)
def _stretch(tall, wide, h, w):
    none, zero = op.Constant(value_ints=[0]), op.CastLike(0.0, tall)
    return zero, tall, h, none, zero, wide, w, none


@script(_DOMAIN, default_opset=op)
def _crop(tall, wide, h, w):
    none = op.Constant(value_ints=[0])
    shape, wanted = wide / tall, op.Cast(w, to=11) / op.Cast(h, to=11)
    used_w = op.Where(shape > wanted, wanted * tall, wide)
    used_h = op.Where(shape < wanted, wide / wanted, tall)
    left, top = (wide - used_w) * 0.5, (tall - used_h) * 0.5
    return top, top + used_h, h, none, left, left + used_w, w, none


@script(_DOMAIN, default_opset=op)
def _pad(tall, wide, h, w):
    zero, one = op.CastLike(0.0, tall), op.CastLike(1.0, tall)
    high, broad = op.Cast(h, to=11), op.Cast(w, to=11)
    flat = wide * high > tall * broad
    rows = op.Where(flat, op.Max(op.Round(tall / wide * broad), one), high)
    columns = op.Where(flat, broad, op.Max(op.Round(wide / tall * high), one))
    row, column = op.Round((high - rows) / 2.0), op.Round((broad - columns) / 2.0)
    rows, row, columns, column = (
        op.Cast(rows, to=7), op.Cast(row, to=7), op.Cast(columns, to=7), op.Cast(column, to=7)
    )  # fmt: skip
    return zero, tall, rows, row, zero, wide, columns, column


def pixel_graph(fit: Fit, channels: int, image_size: tuple[int, int], *, ir_version: int) -> Any:
    """Return an ONNX ModelProto from ``images`` to ``pixels``.

    The input is RGB, uint8 of shape (N, H, W, 3) with any N, H and W; the output is float32 of shape (N, `channels`,
    height, width) in [0, 1], for `channels` 1 the luma. It equals `counterpoise.datasets.decode_image` with the
    installed Pillow, for any image that is decoded to these values.
    """
    planes_of = {1: _gray, 3: _color}[channels]
    placed = {"stretch": _stretch, "crop": _crop, "pad": _pad}[fit]
    size_h, size_w = image_size
    dims_h, dims_w = [size_h], [size_w]
    factor = 2 if int(PIL.__version__.split(".")[0]) >= _ROWS_FIRST_SINCE else 1 << 40

    @script(default_opset=op)
    def prepare(images):
        planes = planes_of(images)
        height, width = op.Shape(planes, start=2, end=3), op.Shape(planes, start=3, end=4)
        h, w = op.Constant(value_ints=dims_h), op.Constant(value_ints=dims_w)
        tall, wide = op.Cast(height, to=11), op.Cast(width, to=11)
        top, bottom, rows, row, left, right, columns, column = placed(tall, wide, h, w)
        of_rows = _weights(top, bottom, height, rows, row, size_h)
        of_columns = _weights(left, right, width, columns, column, size_w)
        turned = op.Transpose(planes, perm=[0, 1, 3, 2])
        if op.And(height > rows, height - rows > (width - columns) * factor):
            resized = op.Transpose(_resampled(_resampled(turned, of_rows), of_columns), perm=[0, 1, 3, 2])
        else:
            resized = _resampled(_resampled(planes, of_columns), of_rows)
        pixels = op.Cast(resized, to=1) / 255.0
        return pixels

    proto = prepare.to_model_proto(
        input_types=[UINT8["batch", "height", "width", 3]],
        output_types=[FLOAT["batch", channels, size_h, size_w]],
        ir_version=ir_version,
    )
    proto = optimize(proto)
    _mark(proto.graph)
    return proto


def _mark(graph: Any) -> None:
    """Mark all names but those of input and output, so that they differ from those of any network."""

    def marked(name: str) -> str:
        return name if name in ("", "images", "pixels") else f"resize/{name}"

    for node in graph.node:
        node.name, node.doc_string = marked(node.name), ""
        del node.metadata_props[:]
        node.input[:], node.output[:] = map(marked, node.input), map(marked, node.output)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _mark(attribute.g)
    for value in (*graph.initializer, *graph.output):
        value.name = marked(value.name)
    del graph.value_info[:]
