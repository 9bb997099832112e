"""`tokentrail`: the list of commands, and what all of them share (errors become one sentence and an exit code)."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from pipeline.errors import FatalError, TokentrailError, UsageError

# Order as a newcomer meets them: name -> (module, one line for the list).
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "demo": ("pipeline.cli.demo", "Play a day of several tenants through the whole pipeline and say what was found."),
    "up": ("pipeline.cli.up", "Run Kafka, ClickHouse and every stage on this machine until Ctrl-C."),
    "worker": ("pipeline.cli.worker", "Run one stage, or all of them, against an existing Kafka and ClickHouse."),
    "migrate": ("pipeline.cli.migrate", "Create topics, tables, epochs and the first policy; safe to repeat."),
    "emit": ("pipeline.cli.emit", "Send events out of a file, and say what was delivered, refused or lost."),
    "redact": ("pipeline.cli.redact", "Redact a file as the pipeline would: before, after, and why."),
    "subscribe": ("pipeline.cli.subscribe", "Print anomalies as they are raised."),
    "rules": ("pipeline.cli.rules", "Show the rules, check a rules file, try it on history, put it into force."),
    "cost": ("pipeline.cli.cost", "What calls cost, by whatever tells them apart, and what is to come."),
    "budget": ("pipeline.cli.budget", "Say how much may be spent on what, and see what is spent of it."),
    "digest": ("pipeline.cli.digest", "Sum up a week on one page: terminal, Markdown or HTML."),
    "query": ("pipeline.cli.query", "Ask ClickHouse: named reports or free SQL."),
    "verify": ("pipeline.cli.verify", "Reconcile Kafka, ledger and rows; fails when they differ."),
    "evidence": ("pipeline.cli.evidence", "One record's whole proof as a file, and its check without any database."),
    "anchor": ("pipeline.cli.anchor", "Sign the ledger's heads and put them away outside."),
    "retention": (
        "pipeline.cli.retention",
        "Show what is kept how long and for whom, drop what has expired, and check it.",
    ),
    "hold": ("pipeline.cli.hold", "Keep rows beyond their life for a legal reason, and let them go."),
    "erase": ("pipeline.cli.erase", "Erase a person, a run or one call; leaves and a receipt stay."),
    "replay": ("pipeline.cli.replay", "Process dead letters again while their raw text lives."),
    "reprice": (
        "pipeline.cli.reprice",
        "Price stored calls by another book, beside what they were first taken to cost.",
    ),
    "raw": ("pipeline.cli.raw", "Show how much raw text is still there, and delete what nobody needs any more."),
    "access": ("pipeline.cli.access", "Say who may see and do what, and who has read text."),
    "doctor": ("pipeline.cli.doctor", "Look at every part and say what is wrong and what to do."),
    "bench": ("pipeline.cli.bench", "Measure this machine; figures as one JSON object."),
}


class LazyGroup(TyperGroup):
    """Imports a command's module when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command by name; None when there is none."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command = get_command(module.app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list for `--help`, from the table, without importing a single command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Telemetry for language model calls: redact, price, watch, alert and keep.",
    epilog="Start with `tokentrail demo`, or `tokentrail up` and `tokentrail doctor`.",
)


@app.callback()
def _root() -> None:
    """Hold the options of the command as a whole (there are none yet)."""


def main(argv: list[str] | None = None) -> Any:
    """Entry point; every error of ours is one sentence on stderr.

    Exit codes: 0 done; 1 what was checked does not hold; 2 wrong use; 69 something needed is not there; 70 and above
    fatal errors of a stage.
    """
    try:
        return app(args=argv, prog_name="tokentrail")
    except UsageError as error:
        _say(error)
        sys.exit(2)
    except FatalError as error:
        _say(error)
        sys.exit(error.exit_code)
    except TokentrailError as error:
        _say(error)
        sys.exit(69)
    except KeyboardInterrupt:
        sys.exit(130)


def _say(error: Exception) -> None:
    print(f"tokentrail: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
