"""Small base models as a hub has them: random weights, and a tokenizer fitted on real comments."""

from __future__ import annotations

import csv
import gzip
from itertools import islice
from pathlib import Path
from typing import Any

import torch

PLACES = 100  # of tokens


def comments(shared_dir: Path, rows: int) -> list[tuple[str, str]]:
    """Real ones with their labels, Chinese and English."""
    found = []
    for file, words in (("sent-zh-htl/reviews", "np"), ("sent-en-tweet3/val", "nup")):
        with gzip.open(shared_dir / "data" / f"{file}.csv.gz", "rt", encoding="utf-8") as lines:
            for row in islice(csv.DictReader(lines), 0, 9 * rows, 9):
                label = {"n": "negative", "u": "neutral", "p": "positive"}[words[int(row["label"])]]
                found.append((row["text"], label))
    return found


def bert(folder: Path, texts: list[str], seed: int = 0) -> Path:
    """BERT for masked words, WordPiece: heads of a width that our own code does not know."""
    from tokenizers import BertWordPieceTokenizer, processors
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    pieces = BertWordPieceTokenizer()
    pieces.train_from_iterator(texts, vocab_size=1_500, show_progress=False)
    named = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]"}
    named |= {"sep_token": "[SEP]", "mask_token": "[MASK]"}
    frame = [(each, pieces.token_to_id(each)) for each in ("[SEP]", "[CLS]")]
    pieces._tokenizer.post_processor = processors.BertProcessing(*frame)
    whole: Any = PreTrainedTokenizerFast(tokenizer_object=pieces._tokenizer, **named)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(whole), hidden_size=64, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=96, max_position_embeddings=PLACES, initializer_range=0.2,
    )  # fmt: skip
    model = BertForMaskedLM(config)
    with torch.no_grad():  # a dimension that is always the same, as MiniLM has three
        model.bert.encoder.layer[-1].output.LayerNorm.weight[7] = 0.0
    model.save_pretrained(folder)
    whole.save_pretrained(folder)
    return folder


def xlm_roberta(folder: Path, texts: list[str], seed: int = 0) -> Path:
    """XLM-R for masked words in halves, unigrams: positions begin behind the padding's."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForMaskedLM

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|user|>"]
    pieces = Tokenizer(models.Unigram())
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=1_500, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    pieces.train_from_iterator(texts, trainer)
    pieces.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    named = {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>"}
    whole: Any = PreTrainedTokenizerFast(tokenizer_object=pieces, **named)
    torch.manual_seed(seed)
    config = XLMRobertaConfig(
        vocab_size=len(whole), hidden_size=64, num_hidden_layers=3, num_attention_heads=2,
        intermediate_size=128, max_position_embeddings=PLACES + 2, type_vocab_size=1,
        layer_norm_eps=1e-5, initializer_range=0.2,
    )  # fmt: skip
    XLMRobertaForMaskedLM(config).half().save_pretrained(folder)
    whole.save_pretrained(folder)
    return folder
