"""Code for one kind of meta-batch, and whether it still holds."""

from collections.abc import Callable
from dataclasses import dataclass

from baselines._forms import Form, forms
from baselines._guards import Guards, difference
from baselines._sweep import Run, Sweep
from baselines.contract import TaskBatch


@dataclass
class Code:
    """What one kind of meta-batch got when the model and the loss were as `guards` say; no sweep: the fallback.

    guards: None where every call changes what the next one reads, and so the fallback serves all of them.

    forms: the form of every tensor, and what surrounds the call. execution: how it runs, or why it is not compiled.
    compared: whether a result has been compared with the fallback's, which takes `fallback_s` seconds.
    """

    guards: Guards | None
    form: Form
    sweep: Sweep | None
    run: Run | None
    execution: str
    compared: bool
    fallback_s: float

    def __post_init__(self) -> None:
        """Nothing is checked quickly before it has been checked once."""
        self.quick: Callable[..., bool] | None = None

    def still_serves(self, around: Form, batch: TaskBatch) -> bool:
        """Whether what was served last is asked for again; False where that takes time to know."""
        if self.guards is None or self.quick is None or self.form[0] != around:
            return False
        return self.guards.hold_quickly() and self.quick(*batch, *self.guards.tensors)

    def serves(self, form: Form) -> bool:
        """Whether it is code for meta-batches of this form, and nothing that it was made from has changed."""
        if self.form[: len(form)] != form:
            return False
        if self.guards is None:
            return True
        return self.guards.hold() and self.form[len(form) :] == forms(self.guards.tensors)

    def change(self, now: Guards) -> str:
        """The path of something that was another when the code was made."""
        return difference(self.guards.state, now.state) if self.guards else ""

    def forget(self) -> None:
        """Keep no object of the model's alive."""
        if self.guards:
            self.guards.forget()
