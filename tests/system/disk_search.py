"""Look for bytes in the data folder of the embedded servers as somebody with the disk would: everything decompressed.

ClickHouse's files are walked block by block (LZ4, ZSTD), Kafka's segments batch by batch and record by record, and
snapshots in them are unpacked; every file is also looked at as it is.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import cramjam

# Checksum (16), method, size with this header of 9, size when unpacked.
_METHODS = re.compile(rb"[\x82\x90\x02]", re.DOTALL)
_ZSTD = b"\x28\xb5\x2f\xfd"


def search(folder: Path, needles: Iterable[str]) -> dict[str, set[str]]:
    """Needle -> the files (relative) that hold it."""
    wanted = {needle: needle.encode() for needle in needles}
    found: dict[str, set[str]] = {}
    for path in sorted(folder.rglob("*")):
        try:
            if not path.is_file() or path.is_symlink():
                continue
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        for piece in (data, *unpacked(path, data)):
            for needle, value in wanted.items():
                if value in piece:
                    found.setdefault(needle, set()).add(str(path.relative_to(folder)))
    return found


def unpacked(path: Path, data: bytes) -> Iterator[bytes]:
    """What a file says when it is unpacked."""
    parts = path.parts
    if "clickhouse" in parts:
        yield b"".join(clickhouse_blocks(data))
    elif "kafka" in parts and ".log" in path.name:
        yield from kafka_values(data)


def clickhouse_blocks(data: bytes) -> Iterator[bytes]:
    """Every compressed block, wherever it begins."""
    at = 0
    while at + 25 <= len(data):
        block = _block(data, at)
        if block is None:
            match = _METHODS.search(data, at + 17)
            if match is None:
                return
            at = match.start() - 16
            continue
        plain, at = block
        yield plain


def _block(data: bytes, at: int) -> tuple[bytes, int] | None:
    method = data[at + 16]
    packed, size = struct.unpack_from("<II", data, at + 17)
    end = at + 16 + packed
    if method not in (0x82, 0x90, 0x02) or packed < 9 or end > len(data) or not 0 < size < 1 << 28:
        return None
    body = data[at + 25 : end]
    try:
        if method == 0x82:
            plain = bytes(cramjam.lz4.decompress_block(body, output_len=size))
        elif method == 0x90:
            plain = bytes(cramjam.zstd.decompress(body))
        else:
            plain = body
    except Exception:
        return None
    return (plain, end) if len(plain) == size else None


def kafka_values(data: bytes) -> Iterator[bytes]:
    """The records of every batch, and what packed values in them say."""
    at = 0
    while at + 61 <= len(data):
        (length,) = struct.unpack_from(">i", data, at + 8)
        end = at + 12 + length
        if length < 49 or end > len(data) or data[at + 16] != 2:
            return
        (attributes,) = struct.unpack_from(">h", data, at + 21)
        records = data[at + 61 : end]
        codec = attributes & 7
        if codec == 1:
            records = bytes(cramjam.gzip.decompress(records))
        elif codec == 2:
            records = bytes(cramjam.snappy.decompress_raw(records))
        elif codec == 3:
            records = bytes(cramjam.lz4.decompress(records))
        elif codec == 4:
            records = bytes(cramjam.zstd.decompress(records))
        yield records
        for value in _values(records):
            if value.startswith(_ZSTD):
                try:
                    yield bytes(cramjam.zstd.decompress(value))
                except Exception:  # one chunk of several
                    continue
        at = end


def _values(records: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(records):
        length, at = _varint(records, at)
        end = at + length
        at += 1
        _, at = _varint(records, at)
        _, at = _varint(records, at)
        key, at = _varint(records, at)
        at += max(0, key)
        size, at = _varint(records, at)
        if size > 0:
            yield records[at : at + size]
        at = end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return (value >> 1) ^ -(value & 1), at
