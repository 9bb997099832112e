"""The span cache: bounded, apart by tenant and engine, and holding neither texts nor failures."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.redaction.cache import SpanCache
from pipeline.redaction.values import Finding

SPAN = (Finding("PERSON", 0, 4, 0.85),)


def test_what_was_put_is_got() -> None:
    cache = SpanCache(10_000, "m")
    cache.put(cache.key(b"acme", b"text"), SPAN)
    assert cache.get(cache.key(b"acme", b"text")) == SPAN
    assert cache.get(cache.key(b"acme", b"other")) is None


@given(st.binary(max_size=6), st.binary(max_size=6), st.binary(max_size=6), st.binary(max_size=6))
def test_keys_are_the_same_only_for_the_same_tenant_and_text(t1: bytes, x1: bytes, t2: bytes, x2: bytes) -> None:
    cache = SpanCache(0, "m")
    assert (cache.key(t1, x1) == cache.key(t2, x2)) == ((t1, x1) == (t2, x2))


def test_another_process_or_engine_has_other_keys() -> None:
    keys = {SpanCache(0, manifest).key(b"acme", b"text") for manifest in ("m", "m", "n")}
    assert len(keys) == 3


def test_the_longest_unused_entry_goes_first_and_memory_is_bounded() -> None:
    cache = SpanCache(2_000, "m")
    keys = [cache.key(b"t", b"%d" % i) for i in range(100)]
    cache.put(keys[0], SPAN)
    for key in keys[1:]:
        cache.put(key, SPAN)
        assert cache.get(keys[0]) == SPAN  # used all the time, so it stays
        assert cache.used_bytes <= 2_000
    assert cache.get(keys[1]) is None
    assert cache.get(keys[99]) == SPAN
    assert 1 < len(cache) < 10


def test_an_entry_bigger_than_the_cache_is_not_kept() -> None:
    cache = SpanCache(1_000, "m")
    cache.put(b"k", SPAN * 50)
    assert (len(cache), cache.used_bytes) == (0, 0)


def test_a_cache_of_no_bytes_keeps_nothing() -> None:
    cache = SpanCache(0, "m")
    cache.put(b"k", ())
    assert cache.get(b"k") is None
