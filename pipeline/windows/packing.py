"""Buckets at rest: as bytes, a tenth of what they take as objects.

What is over is seldom looked at: the judge keeps it packed and unpacks it when a rule or a late event asks. A sketch
becomes one byte for each of its places where that is shorter than naming them. Maps whose names applications choose are
cut to their largest entries here, so that what is kept of a key is bounded whatever applications say.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import astuple

from pipeline.windows.bucket import OTHER
from schemas.partial import Bucket, Judged, Quality, Shape

# Names kept in a packed map; the rest is added up under `other`.
NAMES_KEPT: Final = 48
EVALUATIONS_KEPT: Final = 24
# A dense sketch takes one to four bytes a place, a sparse one about four an entry.
_SPARSE: Final = 4

# Lowest place, bytes a place, counts.
Dense = tuple[int, int, bytes]
_CODES: Final = {1: "B", 2: "H", 4: "I"}


class _Packed(msgspec.Struct, array_like=True, gc=False):
    """A bucket on its way into or out of bytes: its fields in their order, sketches perhaps dense."""

    fields: list[int]
    errors: dict[str, int]
    latency: dict[int, int] | Dense
    ttft: dict[int, int] | Dense
    quality: Quality | None = None
    runs: dict[int, int] | Dense = {}
    shape: Shape | None = None


# A bucket's fields in their order: integers, `errors` and the two sketches, integers, `quality` and `shape`.
_MAPS: Final = slice(Bucket.__struct_fields__.index("errors"), Bucket.__struct_fields__.index("ttft") + 1)
_SECOND: Final = slice(_MAPS.stop, Bucket.__struct_fields__.index("quality"))
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode


def pack(bucket: Bucket) -> bytes:
    """A bucket as bytes."""
    quality, shape = bucket.quality, bucket.shape
    runs: dict[int, int] | Dense = {}
    if quality is not None:
        runs, kept = _dense(quality.runs), quality.judged
        if len(kept) > EVALUATIONS_KEPT:
            kept = _largest_judged(kept)
        quality = msgspec.structs.replace(
            quality, runs={}, failures={}, judged=kept, guardrails=_largest(quality.guardrails)
        )
    if shape is not None and max(len(shape.labels), len(shape.models), len(shape.languages)) > NAMES_KEPT:
        shape = msgspec.structs.replace(
            shape, labels=_largest(shape.labels), models=_largest(shape.models), languages=_largest(shape.languages)
        )
    values = astuple(bucket)
    fields = [*values[: _MAPS.start], *values[_SECOND]]
    return _encode(_Packed(fields, bucket.errors, _dense(bucket.latency), _dense(bucket.ttft), quality, runs, shape))


def unpack(data: bytes) -> Bucket:
    """A bucket out of its bytes.

    Raises:
        ValueError: They are of a bucket with more or fewer numbers.
    """
    packed = _decode(data)
    fields, quality = packed.fields, packed.quality
    if quality is not None:
        quality.runs = _sparse(packed.runs)
    sketches = _sparse(packed.latency), _sparse(packed.ttft)
    first = _MAPS.start
    if len(fields) != first + _SECOND.stop - _SECOND.start:
        raise ValueError(f"{len(fields)} numbers are no bucket")
    values: tuple[Any, ...] = (*fields[:first], packed.errors, *sketches, *fields[first:], quality, packed.shape)
    return Bucket(*values)


def _dense(counts: dict[int, int]) -> dict[int, int] | Dense:
    if len(counts) < 8:
        return counts
    low, high, most = min(counts), max(counts), max(counts.values())
    size = 1 if most < 1 << 8 else 2 if most < 1 << 16 else 4
    if most >= 1 << 32 or (high - low + 1) * size > _SPARSE * len(counts):
        return counts
    places = array(_CODES[size], bytes(size * (high - low + 1)))
    for place, count in counts.items():
        places[place - low] = count
    return low, size, places.tobytes()


def _sparse(counts: dict[int, int] | Dense) -> dict[int, int]:
    if isinstance(counts, dict):
        return counts
    low, size, places = counts
    numbers = places if size == 1 else array(_CODES[size], places)
    return {place: count for place, count in enumerate(numbers, low) if count}


def _largest(counts: dict[str, int]) -> dict[str, int]:
    if len(counts) <= NAMES_KEPT:
        return counts
    ranked = sorted(counts.items(), key=lambda item: (item[0] == OTHER, -item[1], item[0]))
    kept = dict(ranked[: NAMES_KEPT - 1])
    kept[OTHER] = sum(count for _, count in ranked[NAMES_KEPT - 1 :])
    return kept


def _largest_judged(judged: Mapping[str, Judged]) -> dict[str, Judged]:
    ranked = sorted(judged.items(), key=lambda item: (item[0] == OTHER, -item[1].count, item[0]))
    kept, rest = dict(ranked[: EVALUATIONS_KEPT - 1]), Judged()
    for _, one in ranked[EVALUATIONS_KEPT - 1 :]:
        rest.count += one.count
        rest.thousandths += one.thousandths
        rest.squares += one.squares
    kept[OTHER] = rest
    return kept
