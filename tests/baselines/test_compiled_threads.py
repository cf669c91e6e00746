"""Threads that share a compiled implementation, or its model with another one."""

import threading

import torch

from tests.baselines.gradients import build, distance, gradient, points
from tests.baselines.guarded import Model, built


def test_threads_of_one_implementation_or_one_model_get_their_own_answers() -> None:
    model, batches = Model(), [points(2, 4, 4, seed=seed) for seed in range(4)]
    compiled, other = built(model), build("adjoint", model, 1)
    expected = [gradient(other, batch) for batch in batches]
    before = [p.detach().clone() for p in model.parameters()]
    wrong: list[object] = []

    def work(number: int) -> None:
        for turn in range(40):
            seed = (number + turn) % 4
            try:
                result = gradient(other if number == 2 else compiled, batches[seed])
                if distance(result, expected[seed]) > 1e-12:
                    wrong.append(seed)
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert all(torch.equal(p.detach(), was) for p, was in zip(model.parameters(), before, strict=True))
