"""Conventional recommenders that the learner is measured against, in the same run.

Owns the peers, one module each, the contest that runs a peer under the rules of
`online.prequential`, and the roster of their names and settings. Nothing here serves a user.

Words: a *peer* scores all items for a user and learns one interaction at a time; a *batch* peer
is trained anew at every *cut*, each 5 % of the stream, as a nightly job would be; *stale* means
that a user is what he was at the last cut; the *past* is what happened before the interaction.
"""
