"""Declare how the results of `create_graph` are shown."""

from analysis.columns.column import Column
from analysis.page import Page

PAGE = Page(
    question="What does `create_graph=True` do, and which way of clearing gradients destroys what it kept?",
    columns=(
        Column("demonstration", "how the gradients were cleared between the two `backward` calls"),
        Column("quantity", "which tensor; e is the first entry of x.grad, kept from before the clearing"),
        Column("expected", "by the closed forms"),
        Column("obtained", "from torch.autograd"),
        Column("exact", "whether they are equal to the last bit"),
        Column("why", "what is to be seen"),
    ),
    shown=("demonstration", "quantity", "expected", "obtained", "exact", "why"),
)
