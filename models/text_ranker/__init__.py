"""The text ranker: what a user takes next, from the texts of what he took before.

Two towers over one item tower: an item is its text's vector, by the trunk with a LoRA of its own
and a projection; a user is the mean of the items that he met, the later the heavier. The space is
the same for both, so that the item vectors alone serve: published as the frozen trunk's are. It
starts where these are (centred, cut and half-whitened) and is trained on who took what next.
Splits are by time; what comes after the part that training may see, tests.
"""
