"""Code for one kind of meta-batch, and whether it still holds."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import is_grad_enabled

from baselines._compiler.guards.forms import Form, forms
from baselines._compiler.guards.guards import Guards, difference
from baselines._compiler.meta_gradient import Run, Sweep
from baselines._compiler.step import Values
from baselines.contract import MetaGradient, Params, TaskBatch


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

    quick: Callable[..., bool] | None = None
    """Checks the tensors' forms; there is none before it has served twice."""
    inputs: tuple[Values, Values] | None = None
    """The model's tensors as the sweep takes them, for `inputs_of`, which are the guards' parameters."""
    inputs_of: Params | None = None

    def still_serves(self, around: Form, batch: TaskBatch) -> bool:
        """Whether what was served last is asked for again; False where that takes time to know."""
        guards = self.guards
        if guards is None or guards.check is None or self.quick is None or self.form[0] != around:
            return False
        try:
            return is_grad_enabled() and guards.check() and self.quick(*batch, *guards.tensors)
        except Exception:  # what was compared has become something that cannot be
            return False

    def __call__(self, guards: Guards, sweep: Sweep, run: Run, batch: TaskBatch) -> MetaGradient:
        """Run the code with the model's present tensors."""
        if self.inputs is None or self.inputs_of is not guards.parameters or guards.buffers:
            self.inputs, self.inputs_of = sweep.phases.inputs(guards.parameters, guards.buffers), guards.parameters
        return sweep.named(run(*self.inputs, batch))

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
            self.inputs = self.inputs_of = None
