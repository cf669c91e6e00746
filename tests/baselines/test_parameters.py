"""Parameters that are not plain real tensors: served exactly, or refused before anything is computed."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, weight_norm

import baselines
from baselines.contract import InnerLoop, Spec
from tests.baselines.changing import (
    ANY,
    CLONING,
    EAGER,
    JAX,
    batch,
    build,
    reason,
    right,
    sequential,
    served,
    spec,
    truth,
)

pytestmark = pytest.mark.slow


class Complex(nn.Module):
    """Complex weights, or their parts as two real ones."""

    def __init__(self, parts: bool) -> None:
        super().__init__()
        generator, self.parts = torch.Generator().manual_seed(0), parts
        for name, shape in (("a", (2, 3)), ("b", (3, 1))):
            weight = torch.randn(*shape, dtype=torch.complex128, generator=generator)
            tensors = (
                {f"{name}_re": weight.real.clone(), f"{name}_im": weight.imag.clone()} if parts else {name: weight}
            )
            for key, tensor in tensors.items():
                self.register_parameter(key, nn.Parameter(tensor))

    def forward(self, x: Tensor) -> Tensor:
        a, b = (
            torch.complex(getattr(self, f"{name}_re"), getattr(self, f"{name}_im"))
            if self.parts
            else getattr(self, name)
            for name in "ab"
        )
        return (torch.tanh(x.to(a.dtype) @ a) @ b).abs()


@pytest.mark.parametrize("name", ANY)
def test_complex_parameters_are_served_as_their_two_parts(name: str) -> None:
    made = Spec(Complex(False), F.mse_loss, InnerLoop(0.1, 2), torch.device("cpu"), torch.float64)
    result = served(baselines.load(baselines.find(name))(made), batch())
    parts = truth(name, Complex(True), batch())
    assert not isinstance(result, str)
    for key, g in result.grads.items():
        torch.testing.assert_close(g, torch.complex(parts[f"{key}_re"], parts[f"{key}_im"]), rtol=1e-11, atol=1e-13)


class Doubling(Tensor):
    """Whose product with an input is twice what it should be."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]
        return 2 * result if func is F.linear else result


def subclassed() -> nn.Module:
    model = sequential()
    model[0].weight = nn.Parameter(model[0].weight.detach().as_subclass(Doubling))
    return model


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(1)), "call the model once before"),
    "meta": (lambda: sequential().to("meta"), "has no values"),
    "subclass": (subclassed, "is a Doubling"),
    "jitted": (lambda: nn.Sequential(torch.jit.script(nn.Linear(2, 1))), "no function of the parameters"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", EAGER)
@pytest.mark.parametrize("kind", REFUSED)
def test_parameters_that_cannot_be_adapted_are_refused(kind: str, name: str) -> None:
    make, why = REFUSED[kind]
    other = {"notebook": "sub-model", "higher": "higher leaves out", "higher-first-order": "higher leaves out"}
    assert why in reason(name, make()) or (kind in ("lazy", "jitted") and other[name] in reason(name, make()))


@pytest.mark.parametrize("name", sorted(JAX))
def test_jax_has_no_subclasses_and_no_complex_numbers(name: str) -> None:
    assert "is a Doubling" in reason(name, subclassed()) or "Doubling" in reason(name, subclassed())
    assert "complex" in reason(name, nn.Sequential(nn.Linear(2, 1, dtype=torch.complex128)).requires_grad_())


def normed(old: bool) -> nn.Module:
    model = sequential()
    (weight_norm if old else parametrizations.weight_norm)(model[0])
    return model


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:There is a performance drop:UserWarning")
@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("name", ANY)
def test_weight_norm_whose_second_derivatives_are_wrong_is_served_in_first_order_only(name: str, old: bool) -> None:
    if not hasattr(parametrizations, "weight_norm"):
        pytest.skip("torch has this parametrization from 2.1 on")
    model = normed(old)
    if old and name.startswith("higher"):
        assert "leaves out hooks" in reason(name, model)
    elif baselines.load(baselines.find(name)).computes == "maml":
        assert "weight_norm" in reason(name, model)
        assert reason(name, model, 0) == ""
    else:
        expected = truth(name, normed(False), batch())
        names = dict(zip(expected, ("0.bias", "0.weight_g", "0.weight_v", "2.weight", "2.bias"), strict=True))
        expected = {names[key]: g for key, g in expected.items()} if old else expected
        assert right(name, served(build(name, model), batch()), expected)


@pytest.mark.parametrize("name", EAGER)
def test_without_a_parameter_to_train_there_is_no_gradient(name: str) -> None:
    model = sequential().requires_grad_(False)
    if why := reason(name, model):
        assert "frozen" in why
        return
    result = served(build(name, model), batch())
    if name in CLONING:
        assert result == "no parameter of the model requires a gradient"
    else:
        assert not isinstance(result, str) and result.grads == {}


@pytest.mark.parametrize("name", sorted(JAX))
def test_jax_refuses_autocast_where_it_would_lower_the_precision(name: str) -> None:
    model = sequential().float()
    built = baselines.load(baselines.find(name))(replace(spec(model, 0), dtype=torch.float32))
    with torch.autocast("cpu", torch.bfloat16):
        assert served(built, batch(0, torch.float32)) == "JAX knows nothing of torch.autocast"
