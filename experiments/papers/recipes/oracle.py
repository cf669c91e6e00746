"""Train the oracle of Finn et al. 2017, section 5.1: one network for all tasks, with amplitude and phase as inputs.

It is trained like pre-training, on the same tasks. Its inputs are (x, A, φ); it starts from the initial weights of the
other methods' network, with further draws for the weights of the two further inputs.
"""

from collections.abc import Generator
from dataclasses import replace

import torch

from baselines.contract import Spec
from baselines.first_order.pretraining_compiled import PretrainingCompiled
from experiments.harness.measure.bench import Bench
from experiments.harness.measure.outer_loop import outer_loop
from experiments.harness.measure.setup import Setup
from experiments.harness.status import Unavailable
from experiments.papers.recipes import LOOKS, Trained
from experiments.problems import networks
from experiments.problems.networks.initial import initialise
from experiments.problems.tasks import family
from experiments.problems.tasks.stream import Stream

KNOWN_TASK = {"sinusoid": "sinusoid_known_task"}
"""For each task family, the one that has the parameters of a task among its inputs."""


def train(bench: Bench) -> Generator[float, None, Trained]:
    """Train with the case's iterations of Adam on the support loss; raises Unavailable for other tasks."""
    p = bench.params
    if p.text("family") not in KNOWN_TASK:
        raise Unavailable(f"there is no oracle for the tasks of {p['family']}")
    spec = widened_spec(bench)
    if reason := PretrainingCompiled.unavailable(spec):
        raise Unavailable(reason)
    sizes = p.integer("tasks"), p.integer("shots"), p.integer("queries")
    stream = Stream(family(KNOWN_TASK[p.text("family")]), bench.case.seed, *sizes)
    every = max(1, p.integer("iterations") // LOOKS)
    batches = (bench.tensors(stream.batch(i)) for i in range(p.integer("iterations")))
    training = outer_loop(Setup(spec, PretrainingCompiled(spec)), p.number("outer_lr"), batches)
    for iteration, _ in enumerate(training, start=1):
        if iteration % every == 0:
            yield iteration / p.integer("iterations")
    return Trained(spec.model, 0.0, KNOWN_TASK[p.text("family")])


def widened_spec(bench: Bench) -> Spec:
    """Return the case's spec with a network that takes amplitude and phase as further inputs."""
    spec = bench.spec(bench.dtype)
    wider = networks.build(bench.params.part("model").extended(inputs=3)).double()
    initialise(wider, bench.case.seed, bench.params.text("initial"))
    with torch.no_grad():
        for name, p in spec.model.named_parameters():
            wider.get_parameter(name)[..., : p.shape[-1]] = p
    return replace(spec, model=wider.to(bench.device, bench.dtype))
