"""The language models: comments in, probabilities out.

Owns: the multilingual trunk (frozen), text hygiene, reading of labelled comments, fine-tuning of a
small adapter, the artifact format, and the server that answers `/predict` and `/embed`. Does not
own: what a sentiment means for a list or an alert (`online`, `streams`).

Words: trunk (the pretrained encoder, never changed), adapter (LoRA matrices beside the trunk's
own), head (a linear layer on the pooled trunk), artifact (a folder with adapter, heads and
manifest), token budget (tokens in a batch, padding counted), flagged (a comment with nothing to
read). torch and transformers are imported inside functions only, so that `--help` answers at once.
"""
