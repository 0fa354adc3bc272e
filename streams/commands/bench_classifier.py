"""`springtide bench classifier`: comments a second, beside transformers' pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from streams.commands.bench_run import AsJson, Runs
from streams.commands.progress import with_share_bar


def classifier(
    data: Annotated[Path, typer.Option(help="CSV or JSONL of real comments, gzipped or not.")],
    text: Annotated[str, typer.Option(help="Its column.")] = "text",
    limit: Annotated[int, typer.Option(min=64, help="Comments, from the start.")] = 2_000,
    runs: Runs = 5,
    seconds: Annotated[float, typer.Option(min=0.5, help="Of a run over HTTP.")] = 5.0,
    http: Annotated[bool, typer.Option(help="Also over HTTP, and flooded.")] = True,
    threads: Annotated[int, typer.Option(min=1, help="Of the server.")] = 2,
    engine: Annotated[
        Literal["torch", "openvino"], typer.Option(help="As `springtide classifier` knows them.")
    ] = "torch",
    model: Annotated[
        Path | None, typer.Option(help="An artifact in place of the packaged one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Comments a second and core; a single comment; label flips against fp32; the same over HTTP.

    The peer is a plain transformers pipeline("text-classification") with the same model, batches of
    1 and 32, one thread, CPU time, in the same process and in turn with ours.

    Example: springtide bench classifier --data tweets.csv.gz --text text --json
    """
    from infra.settings import UserError, load_settings
    from models.errors import ModelError

    artifact = load_settings(model=model).model

    def work(progress: Any) -> dict[str, Any]:
        from models.speed import SpeedOptions, measured
        from streams.bench_classifier import HttpOptions, over_http
        from streams.commands.classifier_options import trunk_for
        from streams.labelled_rows import read_texts

        texts, options = read_texts(data, text, limit), SpeedOptions(runs, engine, artifact)
        found = measured(texts, options, trunk_for(artifact, None), progress)
        if http:
            asked = HttpOptions(
                seconds=seconds, runs=runs, threads=threads, engine=engine, artifact=artifact
            )
            found["http"] = over_http(texts, asked, progress)
        return found

    try:
        found = with_share_bar(work)
    except ModelError as error:
        raise UserError(str(error)) from None
    found |= {"broker": None, "components": ["classifier"]}
    print(json.dumps(found) if as_json else _said(found))


def _said(found: dict[str, Any]) -> str:
    lines = [
        f"{found['per_core_second']:,.0f} comments/s a core in {found['dtype']}, "
        f"{found['mean_tokens']:.0f} tokens each; one comment p50 {found['p50_ms']:.1f}, "
        f"p99 {found['p99_ms']:.1f} ms; {found['flips']:.2%} of labels differ from fp32's"
    ]
    lines += [
        f"  {name}: {rate:,.0f}/s a core, ours {found['ratio'][name]:.1f} times that"
        for name, rate in found["peers"].items()
    ]
    if "http" in found:
        http = found["http"]
        flood = http["flood"]
        lines.append(
            f"over HTTP: {http['per_second']:,.0f}/s, {http['per_core_second']:,.0f} a core; "
            f"flooded: {flood['accepted']} of {flood['requests']} requests accepted, "
            f"p99 {flood['p99_ratio']:.1f} times the unloaded {flood['unloaded_p99_ms']:.0f} ms"
        )
    return "\n".join(lines)
