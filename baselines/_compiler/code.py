"""Keep what serves one kind of meta-batch, and know whether it still holds."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import is_grad_enabled

from baselines._compiler.guards.forms import Form, forms
from baselines._compiler.guards.guards import Guards, difference
from baselines._compiler.meta_gradient import Run, Sweep
from baselines._compiler.step import Constants, Phi
from baselines.contract import MetaGradient, Params, TaskBatch


@dataclass
class Code:
    """Serve one kind of meta-batch, for as long as the model and the loss are as the guards say.

    guards: None where every call changes what the next one reads, and so the fallback serves all of them.
    form: the form of every tensor, and the state of the process that changes what a forward computes.
    execution: how it runs, or why it is not compiled.
    sweep, run: the compiled sweep, and how to run it; None where the fallback serves.
    compared: whether a result has been compared with the fallback's, which takes `fallback_s` seconds.
    """

    guards: Guards | None
    form: Form
    execution: str
    sweep: Sweep | None = None
    run: Run | None = None
    compared: bool = False
    fallback_s: float = 0.0

    quick: Callable[..., bool] | None = None
    """Checks the tensors' forms; there is none before it has served twice."""
    start: tuple[Constants, Phi] | None = None
    """The model's tensors as the sweep takes them, made of `start_of`, which are the guards' parameters."""
    start_of: Params | None = None

    def still_serves(self, state: Form, batch: TaskBatch) -> bool:
        """Tell whether it serves this batch, too; False where that takes time to know.

        state: what `surroundings` says of the process.
        """
        guards = self.guards
        if guards is None or guards.check is None or self.quick is None or self.form[0] != state:
            return False
        try:
            return is_grad_enabled() and guards.check() and self.quick(*batch, *guards.tensors)
        except Exception:  # what was compared has become something that cannot be
            return False

    def serves(self, form: Form) -> bool:
        """Tell whether it is for meta-batches of this form, and nothing that it was made from has changed."""
        if self.form[: len(form)] != form:
            return False
        if self.guards is None:
            return True
        return self.guards.hold() and self.form[len(form) :] == forms(self.guards.tensors)

    def __call__(self, batch: TaskBatch) -> MetaGradient:
        """Compute the meta-gradient at the model's present tensors; to be called under `no_grad`."""
        assert self.guards is not None and self.sweep is not None and self.run is not None
        if self.start is None or self.start_of is not self.guards.parameters or self.guards.buffers:
            self.start = self.sweep.phases.start(self.guards.parameters, self.guards.buffers)
            self.start_of = self.guards.parameters
        return self.run(*self.start, batch)

    def change(self, now: Guards) -> str:
        """Name the path of something that was another when this was made."""
        return difference(self.guards.state, now.state) if self.guards else ""

    def forget(self) -> None:
        """Keep no object of the model's alive; the next call takes them from the guards anew."""
        if self.guards:
            self.guards.forget()
            self.start = self.start_of = None
