"""Who may do what in Kafka: one principal for each stage, with the topics it reads and writes and nothing else. Pure.

Topics are logical names. Everybody here may read `controls` and ask what the counted topics are, because a stage does
so before it begins; that a topic is there is no secret, what is in it is. Must not know a password or a client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

Operation = Literal["read", "write", "delete", "describe", "describe_configs", "idempotent_write", "all"]
Resource = Literal["topic", "group", "cluster"]

# Their incarnations are compared with the registry by every stage.
COUNTED: Final = ("calls.raw", "facts", "calls", "ledger")


# Groups that plain readers name because the client wants a name; it asks for their place all the same.
_NEVER_JOINED: Final = ("reader", "controls")


@dataclass(frozen=True, slots=True)
class Principal:
    """One login.

    Attributes:
        name: Of the stage, or of who is no stage.
        does: What it is for, in a few words.
        reads: Topics.
        writes: Topics.
        deletes: Topics whose records it may delete.
        groups: Consumer groups it joins.
        asks: It may ask for groups' places and topics' settings.
    """

    name: str
    does: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    asks: bool = False


_EVERY_TOPIC: Final = (
    "calls.raw", "facts", "calls", "ledger", "partials", "windows", "snapshots", "anomalies", "controls", "deadletter",
)  # fmt: skip
PRINCIPALS: Final = (
    Principal("application", "sends events", writes=("calls.raw",)),
    Principal(
        "measure", "raw to facts", ("calls.raw", "facts"), ("calls.raw", "facts", "deadletter"), (), ("measure",)
    ),
    Principal("redact", "raw to clean records", ("calls.raw", "calls"), ("calls", "anomalies"), (), ("redact",)),
    Principal("sink", "clean records to rows", ("calls", "ledger"), ("ledger",), (), ("sink",)),
    Principal("guard", "loops", ("facts", "snapshots"), ("anomalies", "snapshots"), (), ("guard",)),
    Principal("meter", "sums", ("facts", "snapshots"), ("partials", "windows", "snapshots"), (), ("meter",)),
    Principal("judge", "rules", ("partials", "snapshots"), ("windows", "anomalies", "snapshots"), (), ("judge",)),
    Principal("classify", "judges answers", ("calls",), ("calls.raw",), (), ("classify",)),
    Principal("act", "tells and archives", ("anomalies", "windows"), (), (), ("act", "archive")),
    # It looks at the time of the first record that a reader has not read, the raw ones too.
    Principal("keep", "copies, signs, deletes", _EVERY_TOPIC, ("ledger", "controls"), ("calls.raw",), (), asks=True),
    Principal("subscriber", "reads anomalies", reads=("anomalies",)),
)
# Who makes topics, publishes policies and verifies.
OPERATOR: Final = "operator"


@dataclass(frozen=True, slots=True, order=True)
class Acl:
    """One rule: the principal may do this to that; from any host."""

    principal: str
    operation: Operation
    resource: Resource
    name: str
    is_prefix: bool = False


def acls(
    topic: Callable[[str], str], group: Callable[[str], str], login: Callable[[str], str], prefix: str
) -> list[Acl]:
    """Every rule of an installation.

    Args:
        topic: Physical name of a topic.
        group: Consumer group of a stage.
        login: Name under which a principal logs in.
        prefix: Before every topic's name; the operator may do everything to these.
    """
    found = {acl for principal in PRINCIPALS for acl in _of(principal, topic, group, login(principal.name))}
    operator, groups = login(OPERATOR), group("")
    found |= {
        Acl(operator, "all", "topic", prefix, is_prefix=True),
        Acl(operator, "all", "group", groups, is_prefix=True),
        Acl(operator, "describe", "cluster", "kafka-cluster"),
    }
    return sorted(found)


def _of(principal: Principal, topic: Callable[[str], str], group: Callable[[str], str], name: str) -> Iterator[Acl]:
    for known in COUNTED:
        yield Acl(name, "describe", "topic", topic(known))
    for read in ("controls", *principal.reads):
        yield Acl(name, "read", "topic", topic(read))
    for named in _NEVER_JOINED:
        yield Acl(name, "describe", "group", group(named))
    for written in principal.writes:
        yield Acl(name, "write", "topic", topic(written))
    if principal.groups and not principal.writes:
        # Every stage opens a producer; one that may write nowhere asks the cluster for its number.
        yield Acl(name, "idempotent_write", "cluster", "kafka-cluster")
    for deleted in principal.deletes:
        yield Acl(name, "delete", "topic", topic(deleted))
    for joined in principal.groups:
        yield Acl(name, "read", "group", group(joined))
    if principal.name == "subscriber":
        yield Acl(name, "read", "group", "tokentrail-subscribe-", is_prefix=True)
    if principal.asks:
        yield Acl(name, "describe", "group", group(""), is_prefix=True)
        for asked in _EVERY_TOPIC:
            yield Acl(name, "describe_configs", "topic", topic(asked))


def command(acl: Acl, bootstrap: str) -> str:
    """The rule as a line for Kafka's own tool."""
    of = "--cluster" if acl.resource == "cluster" else f"--{acl.resource} '{acl.name}'"
    pattern = " --resource-pattern-type prefixed" if acl.is_prefix else ""
    operation = "".join(part.capitalize() for part in acl.operation.split("_"))
    return (
        f"kafka-acls.sh --bootstrap-server {bootstrap} --command-config operator.properties --add "
        f"--allow-principal 'User:{acl.principal}' --operation {operation} {of}{pattern}"
    )
