"""The learner: interactions in, factors and top-K lists out.

Owns everything that is learned from what users do: histories, popularity, co-occurrence,
transitions, factors, the blend over them, and its own prequential score. Knows nothing of Kafka,
Redis or ClickHouse, and does no I/O (only `checkpoint` touches files).

Words: an *interaction* is one event of a user with an item; the *context* is a user's latest
distinct items, newest first; a *candidate* is an item that a list may show; *prequential* means
ranked first, learned afterwards; the *clock* counts interactions.

One principle carries checkpoints, deletion and rebalancing: additive item statistics are at all
times the sum over the histories that are kept, so a history can be taken out exactly.
"""
