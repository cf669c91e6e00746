"""List the mistakes that the audit knows by name, each as a change to the recipe of second-order MAML.

Causes that lead to the same gradients share an identifier, and its explanation names them all. Tests hold that any two
identifiers differ by at least 1000 tolerances on some probe.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from experiments.audit.probes import STEEPEST, TANH, Probe, weights
from experiments.audit.simulate import Recipe

EXPLANATIONS = {
    "raises": "it raises in calls that any second-order MAML answers",
    "nan": "the meta-gradient is not finite",
    "random": "the result depends on random numbers that it draws, as for mini-batches or dropout",
    "gradients-cleared": "no gradient is left: its own optimizer stepped, and the gradients were cleared after it",
    "weights-changed": "the call changes the model's weights",
    "stale-batch": "it goes on using the points of an earlier call",
    "stale-parameters": "it goes on using the weights of an earlier call: they were captured",
    "stale-arguments": "it goes on using α, K or the loss of an earlier call",
    "earlier-calls": "results of earlier calls are mixed in: something is accumulated and never cleared",
    "stateful": "the result depends on earlier calls, in no way that the catalogue knows; or on a generator of random "
    "numbers of its own",
    "own-forward": "it does not call the model it is given but has a forward pass of its own for the model's weights",
    "loss-ignored": "it uses a loss of its own, a squared error perhaps, in the place of the function it is given",
    "two-losses": "it uses another loss in the inner loop than in the outer loop",
    "swapped": "support and query points are swapped",
    "outer-on-support": "the outer loss is taken on the support points",
    "outer-on-both": "the outer loss is taken on support and query points",
    "inner-on-both": "the inner loop sees the query points too: a leak",
    "last-task-only": "only one task of the meta-batch counts",
    "task-leak": "tasks leak into one another",
    "no-adaptation": "it is the query gradient at θ: nothing was adapted (no inner loop, zero steps, α = 0, or the "
    "query loss taken with the unadapted weights: the result is the same)",
    "inner-steps": "the inner loop takes another number of steps than asked for",
    "inner-lr": "the inner loop uses another α than asked for",
    "not-adapted": "parameters are left out of the inner loop",
    "inner-momentum": "the inner loop has momentum",
    "inner-weight-decay": "the inner loop has weight decay",
    "inner-clipping": "the inner loop clips its gradients",
    "first-order": "it is first-order: the gradient does not flow through the inner loop (no create_graph=True, "
    "detached gradients or `.data` updates, first_order=True: the result is the same)",
    "reptile": "it leaves θ − φ_K, the displacement by the inner loop",
    "truncated": "the gradient flows through a part of the inner loop only",
    "meta-parameter-steps": "later inner steps use the gradient with respect to the meta-parameters θ, not to the "
    "adapted φₖ (the tutorial's single step, extended naively)",
    "hessian-of-query": "the adjoint sweep uses the Hessian of the query loss, not of the support loss",
    "hessian-at-theta": "the adjoint sweep uses the Hessian at θ for every step, not at φₖ",
    "reversed-factors": "the factors (I − αHₖ) are multiplied in reverse order",
    "weights-averaged": "adapted weights are averaged over tasks, in the place of gradients",
    "no-gradient": "parameters get no meta-gradient",
    "inner-gradients": "gradients of the inner loop are left in `.grad` beside the meta-gradient",
    "sum-over-tasks": "it is the sum over tasks, not the mean",
    "sum-over-points": "the query loss is summed over the query points, not averaged",
    "wrong-sign": "its sign is wrong",
    "constant-factor": "the meta-gradient is multiplied by a constant factor",
    "outer-clipping": "the meta-gradient is clipped",
    "outer-normalised": "the meta-gradient is normalised",
    "batch-norm": "with batch normalisation the result has a further error: a mistake of its own, or PyTorch's (the "
    "third derivatives of `batch_norm` are wrong, and through `torch.vmap` the second ones)",
    "unexplained": "no mistake of the catalogue explains the result, no two of them, and no three of which one is that "
    "it is first-order",
}
"""What each identifier means, in the order in which a user would mend them; an audit appends the details."""

PLACES = {
    "two-losses": "support",
    "inner-on-both": "support",
    "outer-on-support": "last support",
    "outer-on-both": "last query",
    "first-order": "support gradient",
    "truncated": "support gradient",
    "meta-parameter-steps": "support gradient",
    "inner-clipping": "support gradient",
    "inner-gradients": "support gradient",
    "no-gradient": "query gradient",
    "sum-over-tasks": "query gradient",
    "sum-over-points": "query gradient",
    "wrong-sign": "query gradient",
    "constant-factor": "query gradient",
    "outer-clipping": "query gradient",
    "outer-normalised": "query gradient",
}
"""For each identifier, the loss or gradient whose line in the user's file the explanation names."""


@dataclass(frozen=True)
class Fault:
    """One way of making a mistake.

    fields: the changed fields of `Recipe`, as a function of a number that is fitted, for which `starts` are first
        guesses; without starts nothing is fitted, and the number is ignored.
    details: what the explanation appends; {value} stands for the number.
    mixed: the result is a sum of two terms with unknown factors: of the outer losses on query and support points, or of
        the meta-gradient and the gradients that the inner loop left in `.grad`.
    common: it is tried in pairs with other mistakes, too, with `starts` as typical values.
    fit_on: the name of the probe that depends most on the number.
    """

    identifier: str
    details: str
    fields: Callable[[float], dict[str, Any]]
    starts: tuple[float, ...] = ()
    mixed: bool = False
    common: bool = True
    fit_on: str = ""


HIDDEN = (
    ("sweep", "carried"),
    ("sweep", "graph"),
    ("sweep", "mean_weights"),
    ("sweep", "result"),
    ("sweep", "meta_parameter_steps"),
    ("result", "graph"),
    ("result", "outer_data"),
    ("result", "outer_loss"),
)
"""Pairs of recipe fields of which one has no effect where the other is changed."""


def fixed(identifier: str, details: str, common: bool = True, mixed: bool = False, **fields: Any) -> Fault:
    """Return a fault without a number to fit, that changes these fields of the recipe."""
    return Fault(identifier, details, lambda value: fields, common=common, mixed=mixed)


def catalogue(counts: Iterable[int] = ()) -> list[Fault]:
    """List every fault that can be simulated; factors, missing gradients and kept state are recognised in other ways.

    counts: numbers of inner steps that the function may always take, besides the usual ones.
    """
    return [
        fixed("first-order", "", graph=lambda k, K: False),
        fixed("reptile", "", result="displacement"),
        fixed("no-adaptation", "", steps=lambda probe: 0),
        *_data(),
        fixed("last-task-only", "the last", tasks="last"),
        fixed("last-task-only", "the first", tasks="first"),
        *_tasks(),
        *_rates(),
        *_steps(counts),
        fixed("meta-parameter-steps", "", meta_parameter_steps=True),
        *_truncated(),
        fixed("hessian-of-query", "", sweep="query"),
        fixed("hessian-at-theta", "", sweep="theta"),
        fixed("reversed-factors", "", sweep="reversed"),
        fixed("inner-gradients", "as they are at φₖ", left_over="direct", mixed=True),
        fixed("inner-gradients", "of the last step only", left_over="last", mixed=True),
        fixed("inner-gradients", "taken through the steps before", left_over="through", mixed=True),
        *_inner_optimizer(),
        fixed("weights-averaged", "the gradient is taken at their mean", mean_weights=True),
        fixed("weights-averaged", "`.grad` holds their mean", result="weights"),
        fixed("two-losses", "a squared error of its own inside, the given one outside", inner_loss="squared error"),
        fixed("two-losses", "the given one inside, a squared error of its own outside", outer_loss="squared error"),
        fixed("loss-ignored", "in both loops", inner_loss="squared error", outer_loss="squared error"),
        fixed("own-forward", "of ReLU networks", activation="relu"),
        fixed("own-forward", "of tanh networks", activation="tanh"),
        *_not_adapted(),
    ]


def pairs(faults: list[Fault]) -> Iterator[tuple[Fault, ...]]:
    """Yield every two common faults that change different fields, where neither makes the other ineffective."""
    for two in combinations([f for f in faults if f.common], 2):
        if _go_together(*two):
            yield two


def triples(faults: list[Fault]) -> Iterator[tuple[Fault, ...]]:
    """Yield the fault of being first-order with any two others, such as a fixed α and K; scripts often have these."""
    first_order, *others = (f for f in faults if f.common)
    for two in pairs(others):
        if all(_go_together(first_order, f) for f in two):
            yield first_order, *two


def _go_together(a: Fault, b: Fault) -> bool:
    of_a, of_b = a.fields(0.1).keys(), b.fields(0.1).keys()
    hidden = any((x in of_a and y in of_b) or (y in of_a and x in of_b) for x, y in HIDDEN)
    return a.identifier != b.identifier and not of_a & of_b and not hidden and not (a.mixed and b.mixed)


def recipe(faults: tuple[Fault, ...], values: tuple[float, ...]) -> Recipe:
    """Return the recipe of second-order MAML with these mistakes, `values` being their fitted numbers."""
    fields: dict[str, Any] = {}
    for fault, value in zip(faults, values, strict=True):
        fields |= fault.fields(value)
    return Recipe(**fields)


def _data() -> Iterator[Fault]:
    yield fixed("outer-on-support", "", outer_data="support")
    yield fixed("outer-on-both", "", outer_data="query and support", mixed=True)
    yield fixed("outer-on-both", "all points together", outer_data="all points")
    yield fixed("swapped", "", inner_data="query", outer_data="support")
    yield fixed("inner-on-both", "its loss is the sum of both", inner_data="both summed")
    yield fixed("inner-on-both", "its loss is the mean of both", inner_data="both averaged")
    yield fixed("inner-on-both", "its loss is the mean over all points", inner_data="all points")
    yield fixed("inner-on-both", "it sees the query points only", inner_data="query")


def _tasks() -> Iterator[Fault]:
    yield fixed("task-leak", "each starts from the adapted weights of the one before", carried="cut")
    yield fixed("task-leak", "each starts from the adapted weights of the one before, graph included", carried="graph")
    yield fixed("task-leak", "one inner loop sees the support points of all", inner_data="pooled")
    yield fixed("task-leak", "all points of all tasks go together", inner_data="pooled", outer_data="pooled query")


def _rates() -> Iterator[Fault]:
    usual = (0.01, 0.1, 0.4, 1.0, 0.001, 0.003, 0.03, 0.2)
    laws: dict[str, Callable[[Probe], float]] = {
        "": lambda p: 1.0,
        "·α": lambda p: p.lr,
        "·α²": lambda p: p.lr**2,
        "·α·S": lambda p: p.lr * p.sizes["S"],
        "·α·T": lambda p: p.lr * p.sizes["T"],
        "·α/S": lambda p: p.lr / p.sizes["S"],
        "·α/T": lambda p: p.lr / p.sizes["T"],
        "·α/K": lambda p: p.lr / p.sizes["K"],
        "·α·K": lambda p: p.lr * p.sizes["K"],
    }

    def with_law(law: Callable[[Probe], float]) -> Callable[[float], dict[str, Any]]:
        return lambda value: {"rate": lambda probe: value * law(probe)}

    for name, law in laws.items():
        starts = {"": usual, "·α": (0.5, 2.0, -1.0)}.get(name, (1.0,))
        yield Fault("inner-lr", "{value}" + name, with_law(law), starts, common=name in ("", "·α", "·α·S"))


def _steps(counts: Iterable[int]) -> Iterator[Fault]:
    for count in sorted({1, 2, 3, 4, 5, 10, *counts}):
        often = count < 10 or count in counts  # many steps take long to simulate in every pair
        yield fixed("inner-steps", f"always {count}", steps=lambda probe, count=count: count, common=often)
    for more, details in ((1, "one too many"), (-1, "one too few"), (2, "two too many")):
        yield fixed("inner-steps", details, steps=lambda probe, more=more: max(0, probe.steps + more))
    yield fixed("inner-steps", "twice as many", steps=lambda probe: 2 * probe.steps, common=False)


def _truncated() -> Iterator[Fault]:
    for m in (1, 2, 3, 4):
        yield fixed("truncated", f"the last {m} of its steps", graph=lambda k, K, m=m: k >= K - m)
        yield fixed("truncated", f"all but the first {m} of its steps", graph=lambda k, K, m=m: k >= m)
        yield fixed("truncated", f"the first {m} of its steps", graph=lambda k, K, m=m: k < m)
        yield fixed("truncated", f"all but the last {m} of its steps", graph=lambda k, K, m=m: k < K - m)
    yield fixed("truncated", "every other step", graph=lambda k, K: k % 2 == 0, common=False)


def _inner_optimizer() -> Iterator[Fault]:
    yield Fault("inner-momentum", "of {value}", lambda value: {"momentum": value}, (0.9, 0.5), fit_on="two steps")
    yield Fault(
        "inner-momentum",
        "of {value}, Nesterov's",
        lambda value: {"momentum": value, "nesterov": True},
        (0.9, 0.5),
        fit_on="two steps",
    )
    yield Fault("inner-weight-decay", "of {value}", lambda value: {"weight_decay": value}, (0.01, 0.1, 0.0005))
    for detached, details in ((False, ""), (True, ", the factor being detached")):
        yield Fault(
            "inner-clipping",
            "to a norm of {value}" + details,
            lambda value, detached=detached: {"clip_norm": abs(value), "clip_detached": detached},  # type: ignore[misc]
            (1.0, 10.0, 0.1, 0.5, 100.0),
            common=not detached,
            fit_on=STEEPEST,
        )
    yield Fault(
        "inner-clipping",
        "to values of ±{value}",
        lambda value: {"clip_value": abs(value)},
        (1.0, 10.0, 0.1, 0.01, 100.0),
        fit_on=STEEPEST,
    )


def _not_adapted() -> Iterator[Fault]:
    names, norms = list(weights(TANH, 0)), [n for n in weights(TANH, 0, normalised=True) if n.startswith("norm")]
    often = [
        frozenset(n for n in (*names, *norms) if n.endswith("bias")),
        frozenset(n for n in (*names, *norms) if not n.startswith("out")),
        frozenset(n for n in names if n.startswith("out")),
        frozenset(n for n in names if n.startswith("hidden1")),
        frozenset(norms),
    ]
    of_norms = [tuple(n for n in norms if n.endswith(end)) for end in ("", ".bias", ".weight")]

    def fault(chosen: Iterable[str]) -> Fault:
        return fixed("not-adapted", ", ".join(chosen), frozen=frozenset(chosen), common=frozenset(chosen) in often)

    for size in range(1, len(names)):
        for chosen in combinations(names, size):
            yield from (fault((*chosen, *more)) for more in ((), *of_norms))
    for size in range(1, len(norms) + 1):
        yield from map(fault, combinations(norms, size))
