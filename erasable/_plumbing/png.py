"""A small picture as PNG bytes, without an imaging library.

ISO/IEC 15948 (PNG): 8 bits per channel, grey or RGB, no interlace, filter 0 in every row.
"""

import struct
import zlib

from torch import Tensor

from erasable.errors import InvalidData


def png(picture: Tensor) -> bytes:
    """From (channels, height, width) in [0, 1], one or three channels. Raises InvalidData for another shape."""
    if picture.ndim != 3 or picture.shape[0] not in (1, 3) or not picture.numel():
        raise InvalidData(f"a picture of shape {tuple(picture.shape)}", expected="(1 or 3, height, width)",
                          do="choose one picture, or convert it to grey or RGB")  # fmt: skip
    channels, height, width = picture.shape
    pixels = (picture.detach().cpu().float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    rows = b"".join(b"\x00" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
