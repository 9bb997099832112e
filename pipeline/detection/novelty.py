"""Kinds of errors, clustered by their messages: which of them have never been seen before.

Words of messages come as keyed hashes, without what was seen to vary; Drain clusters them as it would words, and finds
what else varies (He, Zhu, Zheng, Lyu: Drain: An Online Log Parsing Approach with Fixed Depth Tree, ICWS 2017). Each
tenant has kinds of its own, because each has a key of its own.

Memory: at most KINDS kinds of about 1.5 kB for each of TENANTS tenants, those that failed last; a tenant with more
kinds than that has messages that do not cluster, and nothing is told of it. Kinds that were not seen for FORGOTTEN_MS
are new again. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import msgspec

from pipeline.intake.shapes import TAKEN_OUT
from pipeline.windows.watermark import DAY_MINUTES, HOUR_MINUTES, MINUTE_MS
from schemas.partial import Failure, Source

if TYPE_CHECKING:
    from drain3.drain import Drain

KINDS: Final = 500
TENANTS: Final = 1_000
FORGOTTEN_MS: Final = 28 * DAY_MINUTES * MINUTE_MS
# Share of words that must be the same for two messages to be of a kind. Higher than Drain's usual 0.4, because here
# most of what varies has been taken out before.
SIMILAR: Final = 0.75
DEPTH: Final = 4


class Kind(msgspec.Struct, gc=False):
    """One kind of error.

    Attributes:
        name: What it is called: 12 hexadecimal digits of the words that it was first seen with.
        born: These words.
        words: What its messages have in common, `*` for what varies.
        size: How many messages there were.
        first_ms: When it was first seen.
        last_ms: When it was last seen.
        at: Where that was, as a place (`windows.timeline.place_of`).
        source: What failed first.
        type: Type of the error.
        http_status: HTTP status, 0 where there was none.
        minutes: Failed calls by minute, of the last hour.
    """

    name: str
    born: tuple[str, ...]
    words: tuple[str, ...]
    size: int
    first_ms: int
    last_ms: int
    at: int = -1
    source: Source = ()
    type: str = ""
    http_status: int = 0
    minutes: dict[int, int] = {}

    def recent(self, minute: int, length: int = HOUR_MINUTES) -> int:
        """Failed calls of the `length` minutes up to a minute."""
        return sum(count for at, count in self.minutes.items() if minute - length < at <= minute)


class Tenant(msgspec.Struct):
    """One tenant's kinds, in the order in which they were first seen.

    Attributes:
        since_ms: Event time of its first failure that was seen.
        kinds: The kinds.
        overflowed: Whether there were more than KINDS.
    """

    since_ms: int
    kinds: list[Kind] = []
    overflowed: bool = False


class Novelty:
    """The kinds of all tenants."""

    def __init__(self) -> None:
        self.tenants: dict[str, Tenant] = {}
        self._trees: dict[str, Drain] = {}
        # Kinds that failed within the last hour, by tenant.
        self._fresh: dict[str, dict[str, Kind]] = {}

    def take(self, source: Source, minute: int, failures: Iterable[Failure]) -> None:
        """Count failed calls of a source in a minute."""
        name = source[1]
        for failure in failures:
            # Type and status stand in front, as the first word, so what differs in them is another kind.
            named = f"{failure.type}/{failure.http_status}".replace(" ", "_")
            words = (named, *(word for word in failure.words if word != TAKEN_OUT))
            tenant = self._tenant(name, minute * MINUTE_MS)
            kind = self._kind(name, tenant, words, minute * MINUTE_MS)
            if kind is None:
                continue
            if not kind.source:
                kind.source, kind.type, kind.http_status = source, failure.type, failure.http_status
            kind.last_ms, kind.at = max(kind.last_ms, minute * MINUTE_MS), max(kind.at, failure.at)
            kind.minutes[minute] = kind.minutes.get(minute, 0) + failure.count
            self._fresh.setdefault(name, {})[kind.name] = kind

    def _tenant(self, name: str, at_ms: int) -> Tenant:
        tenant = self.tenants.pop(name, None)
        if tenant is None:
            if len(self.tenants) >= TENANTS:
                oldest = next(iter(self.tenants))
                del self.tenants[oldest]
                self._trees.pop(oldest, None)
                self._fresh.pop(oldest, None)
            tenant = Tenant(at_ms)
        self.tenants[name] = tenant
        return tenant

    def _kind(self, name: str, tenant: Tenant, words: tuple[str, ...], at_ms: int) -> Kind | None:
        tree = self._trees.get(name)
        if tree is None:
            tree = self._trees[name] = _grown(tenant.kinds)
        found = tree.match(" ".join(words)) if len(tenant.kinds) >= KINDS else None
        if len(tenant.kinds) >= KINDS and found is None:
            tenant.overflowed = True
            return None
        cluster, update = tree.add_log_message(" ".join(words))
        if update == "cluster_created":
            called = hashlib.blake2b("\x1f".join((name, *words)).encode(), digest_size=6).hexdigest()
            tenant.kinds.append(Kind(called, words, words, 0, at_ms, at_ms))
        kind = tenant.kinds[cluster.cluster_id - 1]
        kind.size += 1
        kind.words = cluster.log_template_tokens
        if kind.last_ms and at_ms - kind.last_ms > FORGOTTEN_MS:
            kind.first_ms = at_ms
        return kind

    def fresh(self, minute: int) -> Iterable[tuple[str, Tenant, Kind]]:
        """Kinds that failed within the hour up to a minute, by tenant."""
        for name in sorted(self._fresh):
            kinds = self._fresh[name]
            for called in sorted(kinds):
                kind = kinds[called]
                for old in [at for at in kind.minutes if at <= minute - HOUR_MINUTES]:
                    del kind.minutes[old]
                if kind.minutes:
                    yield name, self.tenants[name], kind
                else:
                    del kinds[called]
            if not kinds:
                del self._fresh[name]

    def restore(self, tenants: dict[str, Tenant]) -> None:
        """Continue from the tenants of a snapshot; the trees grow again when they are needed."""
        self.tenants = tenants
        for name, tenant in tenants.items():
            fresh = {kind.name: kind for kind in tenant.kinds if kind.minutes}
            if fresh:
                self._fresh[name] = fresh


def _grown(kinds: list[Kind]) -> Drain:
    """The tree that these kinds lead to: each went in with the words that it was first seen with."""
    # Only a judge that has errors to cluster needs it, and it takes a tenth of a second to load.
    from drain3.drain import Drain, LogCluster

    tree = Drain(depth=DEPTH, sim_th=SIMILAR, max_clusters=None, param_str=TAKEN_OUT, parametrize_numeric_tokens=False)
    for number, kind in enumerate(kinds, 1):
        cluster = LogCluster(kind.born, number)
        tree.id_to_cluster[number] = cluster
        tree.add_seq_to_prefix_tree(tree.root_node, cluster)
        cluster.log_template_tokens, cluster.size = tuple(kind.words), kind.size
        tree.clusters_counter = number
    return tree
