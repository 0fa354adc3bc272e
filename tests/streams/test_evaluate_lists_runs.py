"""`springtide evaluate lists`: interrupted runs go on, and the plots show what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.settings import UserError
from online.prequential import Evaluated, evaluate
from online.prequential_stream import Stream, StreamBuilder
from streams.cli import load
from streams.lists_kept import Kept, fingerprint
from streams.lists_plot import check_plots, colour, draw, running_curves, spread
from streams.lists_run import chosen_peers

pytestmark = pytest.mark.usefixtures("data_dir")
NAMED = "popularity,markov,ease-fresh"


@pytest.fixture
def views(tmp_path: Path) -> Path:
    """600 views of 30 users, who follow the items in their order."""
    rng = np.random.default_rng(5)
    place = rng.integers(40, size=30)
    rows = ["user,item,time"]
    for at, user in enumerate(rng.integers(30, size=600).tolist()):
        place[user] = (place[user] + rng.integers(1, 3)) % 40
        rows.append(f"u{user},i{place[user]},{at}")
    file = tmp_path / "views.csv"
    file.write_text("\n".join(rows))
    return file


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, Any], str]:
    load("evaluate").main(args=["lists", *arguments, "--json"], standalone_mode=False)
    out, err = capsys.readouterr()
    return json.loads(out), err


def interrupt_at(monkeypatch: pytest.MonkeyPatch, method: int) -> None:
    """Ctrl-C in the middle of the given method."""
    begun: list[int] = []

    def interrupted(stream: Stream, running: Any, progress: Any) -> Evaluated:
        begun.append(1)
        if len(begun) == method:
            running.learn(0, len(stream) // 2)
            raise KeyboardInterrupt
        return evaluate(stream, running, progress)

    monkeypatch.setattr("online.prequential.evaluate", interrupted)


def test_an_interrupted_run_goes_on_and_leaves_nothing(
    views: Path,
    data_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = ("--data", str(views), "--peers", NAMED)
    whole, _ = run(capsys, *arguments)
    assert list(data_dir.rglob("*.npz")) == []
    with monkeypatch.context() as patched:
        interrupt_at(patched, method=3)
        code = load("evaluate").main(args=["lists", *arguments, "--json"], standalone_mode=False)
        assert code == 130
        assert "goes on after ['springtide', 'popularity']" in capsys.readouterr().err
    assert len(list(data_dir.rglob("*.npz"))) == 1
    gone_on, said = run(capsys, *arguments)
    assert "springtide, popularity done" in said
    assert list(data_dir.rglob("*.npz")) == []
    for found in (whole, gone_on):
        for method in found["methods"].values():
            del method["update_us"], method["list_us"]
    assert gone_on == whole


def test_a_named_file_is_kept_for_more_peers(
    views: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--data", str(views), "--resume", str(tmp_path / "kept" / "run.npz"))
    first, _ = run(capsys, *arguments, "--peers", "none")
    more, said = run(capsys, *arguments, "--peers", "isgd")
    assert "springtide, popularity done" in said
    assert more["methods"]["springtide"] == first["methods"]["springtide"]
    assert set(more["methods"]) == {"springtide", "popularity", "isgd"}
    assert set(more["methods"]["isgd"]["settings"]) == {"rate 0.03", "rate 0.05"}


def test_other_data_filters_or_files_cannot_be_resumed(
    views: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "run.npz"
    run(capsys, "--data", str(views), "--resume", str(kept), "--peers", "none")
    with pytest.raises(UserError, match="begun with other data, filters or code"):
        run(capsys, "--data", str(views), "--resume", str(kept), "--limit", "50")
    kept.write_bytes(b"something else")
    with pytest.raises(UserError, match="not a file that --resume has written"):
        run(capsys, "--data", str(views), "--resume", str(kept))


def test_the_fingerprint_tells_streams_apart() -> None:
    def of(*pairs: str) -> str:
        builder = StreamBuilder()
        for pair in pairs:
            builder.add(*pair.split(), 0.0)
        return fingerprint(builder.build())

    assert of("u a", "v b") == of("u a", "v b")
    assert len({of("u a", "v b"), of("v b", "u a"), of("u a", "w b"), of("u a")}) == 4


def test_what_cannot_be_kept_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written .*: name another file with --resume"):
        Kept(tmp_path / "file" / "run.npz", "mark")  # before the run
    found = Evaluated(np.ones(1, np.int32), 1.0, 1.0, "", {"": np.ones(1, np.int32)})
    kept = Kept(tmp_path / "run.npz", "mark")
    (tmp_path / "run.npz").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        kept.add("springtide", found)
    assert not (tmp_path / "run.npz.partial").exists()


def test_plots_are_drawn_as_png_and_as_a_page_of_its_own(
    views: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    png, page = tmp_path / "out.png", tmp_path / "out.html"
    views = views.rename(views.with_name("a &<b> & c.csv"))
    plots = ("--plot", str(png), "--plot", str(page))
    run(capsys, "--data", str(views), "--peers", NAMED, *plots, "--repeat")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert png.stat().st_size > 30_000
    text = page.read_text("utf-8")
    assert "<title>a &amp;&lt;b&gt; &amp; c.csv" in text
    assert "http://" not in text.split("uPlot.js")[0]
    assert "src=" not in text and "href=" not in text  # nothing is fetched
    data = text.split('<script id="data" type="application/json">')[1].split("</script>")[0]
    held = json.loads(data)
    assert set(held["curves"]["lines"]["NDCG@10"]) == {"springtide", *NAMED.split(",")}
    assert set(held["colours"]) == set(held["report"]["methods"])
    lines = held["curves"]["lines"]["HR@10"]
    assert all(len(line) == len(held["curves"]["events"]) for line in lines.values())


def test_a_plot_that_cannot_be_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must end in \.png or \.html"):
        check_plots([tmp_path / "out.pdf"])
    with pytest.raises(UserError, match="there is no folder"):
        check_plots([tmp_path / "nowhere" / "out.png"])


def test_a_curve_ends_at_the_mean_of_the_last_window(tmp_path: Path) -> None:
    ranks = np.array([100] * 500 + [1] * 500, np.int32)
    evaluated = {
        "springtide": Evaluated(ranks, 1.0, 1.0, "", {"": ranks}),
        "isgd": Evaluated(ranks[::-1].copy(), 1.0, 1.0, "", {"": ranks}),
    }
    curves = running_curves("a file", evaluated)
    assert curves.window == 40
    assert curves.half == 500
    assert curves.events[-1] == 1_000
    for lines in curves.lines.values():
        assert list(lines) == ["springtide", "isgd"]  # the best first
        assert (lines["springtide"][0], lines["springtide"][-1]) == (0.0, 1.0)
        assert (lines["isgd"][0], lines["isgd"][-1]) == (1.0, 0.0)
    draw(curves, tmp_path / "two.png")
    assert colour("springtide", ["springtide", "isgd"]) != colour("isgd", ["springtide", "isgd"])


def test_labels_keep_apart_and_stay_inside() -> None:
    places = spread([0.5, 0.5, 0.5, 0.98, 0.99], apart=0.1, top=1.0)
    assert max(places) <= 1.0
    ordered = np.sort(places)
    assert (np.diff(ordered) > 0.099).all()
    assert places[3] < places[4]


def test_the_help_names_every_peer(capsys: pytest.CaptureFixture[str]) -> None:
    load("evaluate").main(args=["lists", "--help"], standalone_mode=False)
    said = capsys.readouterr().out
    for name in chosen_peers("all"):
        assert name in said
