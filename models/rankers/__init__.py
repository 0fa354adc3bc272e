"""The field's classic rankers, as trainable baselines: matrix factorisation and a small MLP.

They know users by number and are trained in one go, as a nightly job would; the learner of
`online/` is measured against them. Splits are by time within each user: his last item tests, the
one before validates (He et al. 2017), and all items are ranked except those that he had before.
"""
