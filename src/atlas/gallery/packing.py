"""What is binary, small and in a script: pages opened from disk can read other files as scripts, but not as bytes.

A string of such a script holds one byte a character, as windows-1252 names them; only four of the 256 need a second.
Base64 would take a third more.
"""

import gzip
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

ENCODING = "windows-1252"
"""Of the scripts. Browsers give each of the 256 bytes a character of its own in it."""
ESCAPES = ((b"\\", b"\\\\"), (b'"', b'\\"'), (b"\n", b"\\n"), (b"\r", b"\\r"))
LEAST = 64
"""Smaller tensors stay where they are."""
PLANES = 3
"""Bytes of the largest whole number that float32 holds exactly, with its sign."""


def write_script(path: Path, variable: str, content: Mapping[str, Any]) -> None:
    """Write a script that sets a global variable to what JSON can hold, and to bytes as strings in `ENCODING`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"globalThis." + variable.encode() + b" = " + _literal(content) + b";\n")


def _literal(value: Any) -> bytes:
    if isinstance(value, bytes):
        for found, written in ESCAPES:
            value = value.replace(found, written)
        return b'"' + value + b'"'
    if isinstance(value, Mapping):
        return b"{" + b", ".join(_literal(key) + b": " + _literal(entry) for key, entry in value.items()) + b"}"
    return json.dumps(value).encode("ascii")


def pack(content: bytes) -> bytes:
    """Return gzip of the content; the same content gives the same bytes."""
    return gzip.compress(content, 6, mtime=0)


def pack_network(content: bytes) -> dict[str, Any]:
    """Return an ONNX file in parts that compress better: its weights apart, as whole numbers times a power of two.

    "frame" is gzip of the file with zeros in the place of those weights, "weights" gzip of the whole numbers, and
    "tensors" lists [where they lie in the file, how many, bytes of each, the power of two]. A whole number n stands as
    2n, or -2n - 1 where it is negative; of a tensor the lowest bytes of all numbers come first. What is no such number
    stays in the frame.
    """
    frame = bytearray(content)
    tensors: list[list[float]] = []
    planes: list[bytes] = []
    start = 0
    for weights in onnx.load_from_string(content).graph.initializer:
        raw = weights.raw_data
        if weights.data_type != onnx.TensorProto.FLOAT or len(raw) < 4 * LEAST:
            continue
        place = content.find(raw, start)
        found = _whole(np.frombuffer(raw, "<f4"))
        if place < 0 or found is None:
            continue
        numbers, step = found
        folded = np.where(numbers < 0, -2 * numbers - 1, 2 * numbers)
        size = max(1, -(-int(folded.max()).bit_length() // 8))
        if size > PLANES:
            continue
        start = place + len(raw)
        frame[place:start] = bytes(len(raw))
        tensors.append([place, len(numbers), size, step])
        columns = folded.astype("<u4").view(np.uint8).reshape(-1, 4)
        planes += [columns[:, plane].tobytes() for plane in range(size)]
    return {"frame": pack(bytes(frame)), "weights": pack(b"".join(planes)), "tensors": tensors}


def _whole(values: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Return int64 numbers [n] and the largest power of two of which the values [n] are those multiples, if any is."""
    used = values[values != 0]
    if not np.isfinite(used).all() or np.signbit(values[values == 0]).any():
        return None
    if not used.size:
        return np.zeros(values.shape, np.int64), 1.0
    # A float is mantissa * 2^exponent; the mantissa's lowest digit that is not zero says what it is a multiple of.
    mantissas, exponents = np.frexp(used)
    whole = (mantissas * 2.0**24).astype(np.int64)
    lowest = int((exponents - 24 + np.log2((whole & -whole).astype(float)).astype(int)).min())
    highest = int(exponents.max())
    if highest - lowest > 8 * PLANES - 1 or lowest < -120:
        return None
    step = math.ldexp(1.0, lowest)
    return (values.astype(np.float64) / step).astype(np.int64), step
