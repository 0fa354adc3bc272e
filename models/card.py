"""The model card that goes with every artifact: what it was trained on, and how good it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from models.plots import CALIBRATION, CONFUSION
from models.registry import Manifest, Scores

CARD = "MODEL_CARD.md"

# What each set is, and what its makers allow; the data themselves are not in this project.
ORIGINS = {
    "sent-zh-shopping10": (
        "Chinese shop reviews, ten categories (ChineseNlpCorpus)",
        "none stated; gathered for research",
    ),
    "sent-zh-htl": (
        "Chinese hotel reviews (ChnSentiCorp, ChineseNlpCorpus)",
        "none stated; gathered for research",
    ),
    "sent-zh-weibo3": (
        "Chinese microblog posts (SMP2020-EWECT), emotions mapped to three labels",
        "none stated; shared task, research use",
    ),
    "sent-en-tweet3": (
        "English tweets (TweetEval sentiment, SemEval-2017 task 4A)",
        "no restriction by its makers; the task's and Twitter's terms apply",
    ),
    "sent-en-finphrase3": (
        "English financial news sentences (Financial PhraseBank, Malo et al. 2014)",
        "CC BY-NC-SA 3.0 as far as we know; check with its makers",
    ),
    "sent-en-sst2": (
        "English film review phrases (SST-2 of GLUE as split by ALPS, Socher et al. 2013)",
        "none stated",
    ),
    "topic-zh-thucnews": (
        "Chinese news titles, ten topics (THUCNews, Tsinghua NLP)",
        "none stated; research use",
    ),
    "topic-en-agnews": (
        "English news, title and lead, four topics (AG's corpus as split by ALPS)",
        "academic, non-commercial",
    ),
    "stream-en-airline": (
        "English tweets to six airlines, February 2015 (CrowdFlower)",
        "CC BY-NC-SA 4.0 as far as we know; check with its makers",
    ),
}

TEXT = """# Model card: {version}

What it does: probabilities of negative, neutral and positive for a comment of up to 1,000
characters ({max_tokens} tokens are read){and_topics}. Made by `springtide train sentiment`.

- Trunk: {trunk}
- Method: {method},
  seed {seed}, {epochs} epochs over {rows:,} rows{of_topics}, {seconds:.0f} s of training.
- {expert}
- Files: {size:.2f} MB, adapter in eight bits, n-grams in four, heads in fp16; their SHA-256 stand
  in `manifest.json` and are checked at load.

## Use it for research, train your own for business

**{licence_line}**
The texts are no part of these files, but the weights were fitted to them. Before you use a model
in a product, train one on comments of your own; a CSV with the columns `text` and `label`
(negative, neutral, positive) is enough:

    springtide train sentiment --data my_comments.csv --out my-model
    SPRINGTIDE_MODEL=my-model springtide classifier

| set | what it is | licence |
|---|---|---|
{origins}

## How well it reads sentiment

Test rows never seen in training: by MD5 of the text where the set came without a split, and a text
that is in any test part is dropped from every training part. Phrases of one sst2 sentence are on
both sides of its makers' split: a test phrase that stands in a training text is left out.
"Trained" and "tested" count rows. Sets without neutral are scored on
negative against positive. "Frozen trunk" is a linear head on the same rows without fine-tuning;
"n-grams alone" is the expert by itself, trained on all rows.

| set | trained | tested | accuracy | macro-F1 | frozen trunk: acc / F1 | n-grams alone | majority |
|---|---|---|---|---|---|---|---|
{scores}
{plots}{topics}
## Limits

- Trained on reviews, tweets and news in Chinese and English. Other languages work as far as the
  trunk carries the meaning over; they were not measured here.
- Irony, mixed opinions and comparisons are often misread; so is neutral, on which people disagree.
- A comment without a letter or a digit (emoji alone, punctuation) is not shown to the model: it is
  answered neutral and flagged.
- A rise of negative comments is evidence about comments, not about people: do not use it to judge
  the one who wrote them.
"""


TOPICS = """
## How well it tells topics

Added by `springtide train topic`: a linear layer on the vectors that the sentiment head reads, with
an n-gram expert of its own, fitted on the training rows; every setting was chosen on training rows
held back.

| label set | topics | trained | tested | accuracy | macro-F1 | n-grams alone |
|---|---|---|---|---|---|---|
{rows}
"""


def write_card(folder: Path, manifest: Manifest) -> Path:
    """Write `MODEL_CARD.md` beside the manifest; returns its path."""
    trained = manifest.trained_rows | manifest.topic_rows
    told = sum(manifest.topic_rows.values())
    known = [name for name in trained if name in ORIGINS]
    licence_line = (
        "The data sets behind this model are for research only, or state no licence."
        if known
        else "This model was trained on data of your own, whose licence only you know."
    )
    if manifest.teacher and not known:
        licence_line += " Its teacher's data, which that one's card names, speak through it."
    if manifest.base_model:
        licence_line += " The base model's licence counts beside it: its own card names it."
    files = [folder / name for name in manifest.sha256]
    text = TEXT.format(
        version=manifest.version,
        and_topics=", and of topics, from one forward pass" if manifest.topics else "",
        trunk=_trunk(manifest),
        max_tokens=manifest.max_tokens,
        method=_method(manifest),
        seed=manifest.seed,
        epochs=manifest.epochs,
        expert=_expert(manifest),
        rows=sum(trained.values()),
        of_topics=f" ({told:,} of them tell topics)" if told else "",
        seconds=manifest.train_seconds,
        size=sum(file.stat().st_size for file in files) / 1e6,
        licence_line=licence_line,
        origins="\n".join(_origin(name) for name in trained | manifest.topics),
        scores="\n".join(score_rows(manifest)),
        plots=_plots(folder),
        topics=_topics(manifest),
    )
    path = folder / CARD
    path.write_text(text, encoding="utf-8")
    return path


def _trunk(manifest: Manifest) -> str:
    if manifest.base_model is None:
        return (
            f"{manifest.trunk}, frozen (multilingual-e5-small, MIT, 100 languages; 4-bit\n"
            "  weights read into fp16)."
        )
    before = manifest.text_prefix
    said = f"every text begins with `{before}`" if before else "nothing is put before a text"
    return (
        f"{manifest.trunk}, a base model of your own; {said}.\n  It is no part of these files, and "
        "its licence is for you to know; its SHA-256 stand in `manifest.json`."
    )


def score_rows(manifest: Manifest) -> list[str]:
    """One Markdown table row a set."""
    return [
        f"| {name} | {manifest.trained_rows[name]:,} | {scores.rows:,} "
        f"| {scores.accuracy:.3f} | {scores.macro_f1:.3f} "
        f"| {_pair(manifest.before, name)} | {_pair(manifest.ngrams, name)} "
        f"| {_pair(manifest.majority, name)} |"
        for name, scores in manifest.scores.items()
    ]


def _plots(folder: Path) -> str:
    drawn = ((CONFUSION, "Confusion matrices"), (CALIBRATION, "Reliability diagrams"))
    return "".join(f"\n![{what}]({name})\n" for name, what in drawn if (folder / name).exists())


def _topics(manifest: Manifest) -> str:
    if not manifest.topics:
        return ""
    rows = [
        f"| {name} | {', '.join(each.labels)} | {each.trained_rows:,} | {each.scores.rows:,} "
        f"| {each.scores.accuracy:.3f} | {each.scores.macro_f1:.3f} "
        f"| {_pair({name: each.ngrams} if each.ngrams else {}, name)} |"
        for name, each in manifest.topics.items()
    ]
    return TOPICS.format(rows="\n".join(rows))


def _pair(table: Mapping[str, Scores], name: str) -> str:
    scores = table.get(name)
    return f"{scores.accuracy:.3f} / {scores.macro_f1:.3f}" if scores else "not measured"


def _origin(name: str) -> str:
    what, licence = ORIGINS.get(name, ("your own comments", "yours to know"))
    return f"| {name} | {what} | {licence} |"


def _method(manifest: Manifest) -> str:
    adapter = manifest.adapter
    said = {
        "head": "linear head on the frozen trunk",
        "full": "every layer trained, embeddings frozen",
        "prefix": "trained keys and values before every text (prefix tuning)",
        "adalora": "AdaLoRA",
    }.get(manifest.method, "")
    if manifest.method == "lora" and adapter:
        targets = ", ".join(adapter.targets)
        said = f"LoRA r = {adapter.rank}, alpha = {adapter.alpha} on {targets}"
    if manifest.layers:
        said += f"; {len(manifest.layers)} of the trunk's layers"
    return said + (f"; taught by {manifest.teacher}" if manifest.teacher else "")


def _expert(manifest: Manifest) -> str:
    if manifest.stack is None:
        return "No n-gram expert: too few rows were left that the trunk had not seen, or no gain."
    return (
        "Beside it a linear model over hashed words, Han characters and their neighbours, trained\n"
        f"  on all rows: logits = {manifest.stack.temperature:g} · (trunk + w · n-grams), w = "
        f"{manifest.stack.weight:g} · (100 / grams)^{manifest.stack.length:g},\n"
        "  fitted on rows that neither had seen."
    )
