"""Rewrites the README's tables and file map, and docs/metrics.md, from the code: `make readme`."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from infra.settings import Settings
from streams.cli import COMMANDS
from streams.topics import CATALOGUE

ROOT = Path(__file__).parents[1]
PACKAGES = ("streams", "online", "models", "dashboards", "infra")


def commands() -> str:
    """Command, purpose."""
    rows = [f"| `springtide {name}` | {summary} |" for name, summary in COMMANDS.items()]
    return "\n".join(["| command | what it does |", "|---|---|", *rows])


def settings() -> str:
    """Variable, default, meaning; secrets without their default."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = getattr(default, "get_secret_value", lambda value=default: value)()
        text = "" if shown in ("", None) else f"`{shown}`"
        rows.append(f"| `SPRINGTIDE_{name.upper()}` | {text} | {field.description} |")
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def topics() -> str:
    """Topic, key, retention, purpose."""
    rows = []
    for spec in CATALOGUE:
        key = {"user": "tenant/user", "item": "tenant/item", "one": "one partition"}[spec.keyed_by]
        kept = "latest of each key" if spec.compacted else f"{spec.retention_days:g} days"
        rows.append(f"| `{spec.name}` | {key} | {kept} | {spec.purpose} |")
    return "\n".join(["| topic | key | kept | carries |", "|---|---|---|---|", *rows])


def metrics() -> str:
    """docs/metrics.md: every metric with its type, labels and meaning."""
    from prometheus_client import CollectorRegistry

    from infra.metrics import ApiMetrics, WorkerMetrics
    from models.metrics import ClassifierMetrics

    lines = [
        "# Metrics",
        "",
        "What each process tells Prometheus at `/metrics`. Written by `make readme`.",
    ]
    for title, process in (("Worker", WorkerMetrics), ("API", ApiMetrics),
                           ("Classifier", ClassifierMetrics)):  # fmt: skip
        lines += [
            "",
            f"## {title}",
            "",
            "| metric | type | labels | meaning |",
            "|---|---|---|---|",
        ]
        made = process(CollectorRegistry())
        for metric in vars(made).values():
            labels = ", ".join(getattr(metric, "_labelnames", ()))
            name = metric._name + ("_total" if metric._type == "counter" else "")
            lines.append(f"| `{name}` | {metric._type} | {labels} | {metric._documentation} |")
    return "\n".join(lines) + "\n"


def house() -> str:
    """One line a module: its name and the first sentence of its docstring."""
    lines = ["```"]
    for package in PACKAGES:
        lines += _folder(ROOT / package, 0)
    return "\n".join([*lines, "```"])


def _folder(folder: Path, depth: int) -> list[str]:
    indent = "  " * depth
    lines = [f"{indent}{folder.name + '/':<26} {_first_sentence(folder / '__init__.py')}"]
    for path in sorted(folder.iterdir(), key=lambda entry: (entry.is_dir(), entry.name)):
        if path.is_dir() and (path / "__init__.py").exists():
            lines += _folder(path, depth + 1)
        elif path.suffix == ".py" and path.stem != "__init__":
            lines.append(f"{indent}  {path.name:<24} {_first_sentence(path)}")
    return lines


def _first_sentence(module: Path) -> str:
    text = ast.get_docstring(ast.parse(module.read_text("utf-8"))) or ""
    line = " ".join(text.split("\n\n")[0].split())
    return line.split(". ")[0].rstrip(".:")


def rewritten(readme: str) -> str:
    """The README with every generated section anew."""
    for name, make in (
        ("commands", commands),
        ("settings", settings),
        ("topics", topics),
        ("house", house),
    ):
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, _, rest = readme.partition(begin)
        _, _, after = rest.partition(end)
        readme = f"{before}{begin}\n{make()}\n{end}{after}"
    return readme


if __name__ == "__main__":
    path = ROOT / "README.md"
    new = rewritten(path.read_text("utf-8"))
    changed = new != path.read_text("utf-8")
    path.write_text(new, "utf-8")
    (ROOT / "docs" / "metrics.md").write_text(metrics(), "utf-8")
    print("README.md rewritten" if changed else "README.md is current", file=sys.stderr)
