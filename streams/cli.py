"""The front door: `springtide`. Each command has a file of its own in `streams/commands`."""

from __future__ import annotations

import importlib
import io
import sys
from typing import Any

HELP = """Fresh recommendations and provable alerts from a stream of events.

Start here: `springtide demo` shows everything at work on embedded parts. For your own platform:
`springtide topics apply`, then `springtide worker`, `springtide classifier` and `springtide api`,
with SPRINGTIDE_KAFKA_URL, SPRINGTIDE_REDIS_URL and SPRINGTIDE_CLICKHOUSE_URL set.
"""

# A command's module is imported when the command is named, so that `--help` answers at once.
COMMANDS: dict[str, str] = {
    "demo": "Everything at work: simulated or real input, lists changing, an alert firing.",
    "local": "The embedded parts alone (Kafka, Valkey, ClickHouse, webhook receiver).",
    "kafka": "Bring a real Kafka to this machine.",
    "worker": "Learn, recommend, score, monitor and archive: the Faust worker.",
    "classifier": "Serve the comment classifier over HTTP.",
    "api": "The read API and the ops page.",
    "replay": "Send the events of a CSV or JSONL file.",
    "simulate": "Send the events of a simulated knowledge platform.",
    "topics": "Make and show the Kafka topics.",
    "dead-letters": "Look at events that could not be used, and send them again.",
    "checkpoints": "Look at the learner's checkpoints.",
    "erasure": "Look whether anything is left of an erased user.",
    "export": "Counts for somebody outside, with differential privacy.",
    "warehouse": "Make the ClickHouse tables.",
    "dashboards": "Grafana's dashboards, data sources and alert rules, from the code.",
    "evaluate": "Measure quality on a file of yours.",
    "train": "Train the classifier, a text ranker, start values for the learner, or baselines.",
    "chaos": "Kill, pause and cut off the parts of a running platform; count what is lost.",
    "soak": "A steady load for long: does memory grow, does latency drift?",
    "models": "Which version of the classifier serves: promote, roll back, shadow.",
    "bench": "Measure speed here: freshness, ingest, serving, classifier, search, spikes.",
}


def load(name: str) -> Any:
    """Import a command's module and make its command."""
    import typer

    module = importlib.import_module("streams.commands." + name.replace("-", "_"))
    group = getattr(module, "app", None)
    if group is not None:
        return typer.main.get_command(group)
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name)(getattr(module, name.replace("-", "_")))
    return typer.main.get_command(single)


def main() -> None:
    """Run the command line; an error that the user can mend is one line and exit code 2."""
    from infra.settings import UserError

    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a sign must not end a command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        _run(sys.argv[1:])
    except UserError as error:
        print(f"springtide: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.filename is None:
            raise
        print(f"springtide: {error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _run(arguments: list[str]) -> None:
    if not arguments or arguments[0] in {"--help", "-h"}:
        print(overview())
        return
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(version("springtide"))
        return
    name = arguments[0]
    if name not in COMMANDS:
        raise_unknown(name)
    load(name).main(args=arguments[1:], prog_name=f"springtide {name}")


def overview() -> str:
    """What `springtide --help` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()]
    return (
        f"Usage: springtide COMMAND [OPTIONS]\n\n{HELP}\nCommands:\n"
        + "\n".join(lines)
        + "\n\n`springtide COMMAND --help` explains a command, with an example."
    )


def raise_unknown(name: str) -> None:
    """An unknown command: say which are near.

    Raises:
        UserError: always.
    """
    import difflib

    from infra.settings import UserError

    near = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean `{near[0]}`?" if near else "see `springtide --help`"
    raise UserError(f"there is no command {name!r}: {hint}")


if __name__ == "__main__":
    main()
