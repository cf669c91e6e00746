"""First-order MAML with learn2learn 0.2.0: its own `first_order=True`.

Source: https://learn2learn.net/docs/learn2learn.algorithms, `MAML`: "For the first-order version of MAML (i.e.
FOMAML), set the `first_order` flag to `True` upon initialization."
"""

from baselines.libraries.learn2learn import Learn2Learn


class Learn2LearnFirstOrder(Learn2Learn):
    """`learn2learn.algorithms.MAML(first_order=True)`."""

    computes = "fomaml"
    first_order = True
