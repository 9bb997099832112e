"""`tokentrail evidence`: one record's whole proof as a file, and its check, which needs no database and no keys."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from pipeline.cli.context import DataOption, JsonOption, settings_for
from pipeline.cli.times import iso_ms
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.audit.evidence import Checked, Evidence

_POSITION: Final = re.compile(r"(\d+)/(\d+)/(\d+)")


class _WithDefault(TyperGroup):
    """`evidence ID` is `evidence of ID`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command before anything that is none."""
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["of", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_WithDefault,
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="One record's whole proof as a file (`evidence ID --out FILE`), and its check without any database.",
    epilog="Example: tokentrail evidence 1/0/4711 --out call.json && tokentrail evidence check call.json",
)


@app.command(epilog="Example: tokentrail evidence 01936f5e-1d6b-7cc0-8000-2b0d2f5f0001 --out call.json")
def of(
    record: Annotated[str, typer.Argument(metavar="ID|POSITION", help="Event id, or epoch/partition/offset.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write it.")],
    text: Annotated[bool, typer.Option("--text", help="Show its text; needs the right to read text.")] = False,
    user: Annotated[str, typer.Option(metavar="NAME", help="ClickHouse user of the embedded server.")] = "pipeline",
    reason: Annotated[
        str, typer.Option(metavar="WORDS", help="Why text is read, for users that must say so (it is kept).")
    ] = "",
    anchors: Annotated[
        str, typer.Option(metavar="DIR|URL", help="Where anchors were put away (default: TOKENTRAIL_ANCHORS).")
    ] = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write one record's proof: rows, siblings' hashes, ledger records, signed head, anchor."""
    from pipeline.audit import heads
    from pipeline.audit.anchors import is_signed
    from pipeline.audit.evidence import write
    from pipeline.cli.output import write_json
    from pipeline.keys import load
    from pipeline.storage import anchors as stored
    from pipeline.storage.client import connect
    from pipeline.storage.evidence import find, gather

    settings = settings_for(data, user=user)
    public = heads.public_key(load(settings))
    where = anchors or stored.place(settings)
    documents = stored.get(where) if where and not where.startswith(stored.MAIL) else []
    known = [anchor for _, anchor in documents if anchor is not None and is_signed(public, anchor)]
    client = connect(settings, purpose=f"evidence reason={reason}" if reason else "evidence")
    try:
        if match := _POSITION.fullmatch(record):
            position = (int(match[1]), int(match[2]), int(match[3]))
        else:
            positions = find(client, record)
            if not positions:
                raise UsageError(f"No record has the id {record!r}.")
            if len(positions) > 1:
                named = ", ".join("/".join(map(str, each)) for each in positions)
                raise UsageError(f"The producer sent {record!r} more than once: name one of the positions {named}.")
            position = positions[0]
        evidence = gather(client, public, position, with_text=text, known=known)
    finally:
        client.close()
    document = write(evidence)
    out.write_bytes(document)
    if as_json:
        write_json({**_told(evidence), "file": str(out), "bytes": len(document)})
        return
    print(f"{out}: {_sentence(evidence)}")


@app.command(epilog="Example: tokentrail evidence check call.json --public-key tokentrail.pem")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `evidence ID --out FILE` wrote.")],
    public_key: Annotated[
        Path | None, typer.Option("--public-key", metavar="FILE", help="The installation's public key (PEM).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a proof by itself: no Kafka, no ClickHouse, no secret. Fails when any field of it was changed."""
    from pipeline.audit.evidence import check as check_document
    from pipeline.cli.output import write_json

    try:
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.") from error
    checked = check_document(data, None if public_key is None else _read_key(public_key))
    if as_json:
        told = _told(checked.evidence) if checked.evidence is not None else {}
        write_json({**told, "ok": checked.ok, "failures": list(checked.failures), "key_given": public_key is not None})
    else:
        _print(file, checked, public_key is not None)
    if not checked.ok:
        raise typer.Exit(1)


@app.command(epilog="Example: tokentrail evidence key > tokentrail.pem")
def key(data: DataOption = None) -> None:
    """Print the installation's public key (PEM), which whoever checks a proof should have from somewhere else."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from pipeline.audit.heads import private_key
    from pipeline.keys import load

    public = private_key(load(settings_for(data))).public_key()
    sys.stdout.write(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def _read_key(path: Path) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        found = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is no public key (PEM); `tokentrail evidence key` prints it.") from error
    if not isinstance(found, Ed25519PublicKey):
        raise UsageError(f"{path} is no Ed25519 key.")
    return found.public_bytes_raw()


def _print(file: Path, checked: Checked, key_given: bool) -> None:
    for failure in checked.failures:
        print(f"{file}: {failure}.")
    if not checked.ok or checked.evidence is None:
        print(f"{file} proves NOTHING.")
        return
    print(f"{file} is true: {_sentence(checked.evidence)}")
    if not key_given:
        print("The key is the file's own word. With --public-key it is compared with the one that you have.")


def _sentence(evidence: Evidence) -> str:
    told = _told(evidence)
    rows = " and ".join(told["tables"])
    said = f"record {told['position']} stands in {rows}, signed {told['signed_at']} with key {told['key']}"
    if told["anchored_at"]:
        said += f", anchored {told['anchored_at']}"
    return said + ("." if "text" in told["shows"] else "; its text is not shown.")


def _told(evidence: Evidence) -> dict[str, Any]:
    signed = evidence.links[0].heads[0] if evidence.links and evidence.links[0].heads else None
    return {
        "position": "/".join(map(str, evidence.position)),
        "tables": [row.table for row in evidence.rows if row.values is not None],
        "removed": [row.table for row in evidence.rows if row.values is None],
        "shows": list(evidence.shows),
        "changes": len(evidence.links) - 1,
        "signed_at": "" if signed is None else iso_ms(signed.at_ms),
        "key": "" if signed is None else signed.key,
        "anchored_at": "" if evidence.anchor is None else iso_ms(evidence.anchor.made_at_ms),
        "installation": "" if evidence.anchor is None else evidence.anchor.installation,
    }
