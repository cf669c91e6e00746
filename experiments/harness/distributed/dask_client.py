"""A scheduler's workers as the executor of a run: cases go out, cells come back, and are stored here."""

import logging
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from distributed import Client, Future, wait
from distributed.scheduler import KilledWorker

from experiments.harness.distributed import dask_worker
from experiments.harness.executor import Here, Plan, Todo
from experiments.harness.experiment import Experiment
from experiments.harness.processes.schedule import Advance
from experiments.harness.records import Case
from experiments.harness.records.messages import Delivery, Machine, Order, Survey
from experiments.harness.records.serial import digest
from experiments.harness.refusals import BadRequest
from experiments.harness.status import classify

CONNECT_S = 10
POLL_S = 5.0
WITHOUT_WORKERS_S = 300.0
"""How long a run waits for workers to come back."""
VANISHED = "each worker that measured it vanished, perhaps for want of memory"
CLAIM = {"device": 1.0}
"""What a timed case takes of a worker: all of it."""


@contextmanager
def connected(address: str) -> Iterator["Cluster"]:
    """Connect to the workers of a scheduler. Raises BadRequest where there is none, or a worker that is of no use."""
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters of it is said in one line
    try:
        with warnings.catch_warnings(action="ignore"):  # versions may differ: they are in each cell's environment
            client = Client(address, timeout=CONNECT_S)
    except (OSError, TypeError, ValueError) as error:
        raise BadRequest(f"--scheduler {address}: no Dask scheduler can be reached there: {_line(error)}") from None
    with client:
        yield Cluster(client, address)


class Cluster(Here):
    """The workers that are there now, and those that come later.

    What any of those that are there now would not measure again is there already. Which of them measures a case is for
    the scheduler to say; when it vanishes, another one measures the case, from its beginning.
    """

    name = "the smallest worker"

    def __init__(self, client: Client, address: str) -> None:
        self.client, self.address = client, address
        try:
            found: dict[str, Survey] = client.run(dask_worker.survey)
        except ImportError as error:
            raise self._refused(f"a worker cannot import the project, or what it needs: {_line(error)}") from None
        if not found:
            raise self._refused("the scheduler has no workers yet")
        other = sorted(name for name, about in found.items() if about.project != dask_worker.project())
        if other:
            raise self._refused(
                f"{len(other)} of {len(found)} workers have other sources of the project than this checkout, such as "
                f"{other[0]}: update them, and start them again"
            )
        self.cores = min(about.cores for about in found.values())

    def describe(self, device: str, files: dict[str, str], timed: bool) -> list[Machine]:
        """Return each environment among the workers once. Raises BadRequest where they cannot measure the same."""
        if timed and not self._usable(timed):
            raise self._refused(
                "a timed experiment needs workers that were started with --resources device=1, and none was"
            )
        found: dict[str, Machine] = self.client.run(dask_worker.describe, device, list(files))
        devices = Counter(about.device for about in found.values())
        if len(devices) > 1:
            said = ", ".join(f"{count} {name}" for name, count in sorted(devices.items()))
            raise self._refused(f"--device auto finds {said} among the workers: name one of these")
        without = [about for about in found.values() if not about.cuda]
        if "cuda" in devices and without:
            raise self._refused(
                f"--device cuda: PyTorch finds no CUDA device on {len(without)} of {len(found)} workers"
            )
        return list({digest(asdict(about)): about for _, about in sorted(found.items())}.values())

    def measure(self, plan: Plan, wanted: Experiment, todo: Todo, advance: Advance) -> None:
        """Measure every case on some worker; one whose workers vanish again and again is `failed`.

        Of cases that were with such a worker any may be the reason, so each is tried again by itself.
        """
        for suspect in self._attempt(plan, wanted, todo, advance):
            for case, missing in self._attempt(plan, wanted, [suspect], advance):
                plan.add_failed(wanted, case, missing, VANISHED)
                advance(len(missing))

    def _attempt(self, plan: Plan, wanted: Experiment, todo: Todo, advance: Advance) -> Todo:
        """Measure cases; those are left whose workers vanished more often than the scheduler allows."""
        futures = {self._submit(plan, wanted, case, missing): (case, missing) for case, missing in todo}
        vanished: Todo = []
        try:
            for future in self._finished(list(futures), wanted.timed):
                case, missing = futures[future]
                try:
                    found = self._result(future, case)
                except KilledWorker:
                    vanished.append((case, missing))
                    continue
                future.release()  # or the scheduler has it measured again when this worker goes
                plan.add(wanted, case, found.cells, found.environment)
                advance(len(missing))
        finally:
            with suppress(Exception):  # the scheduler may have gone
                self.client.cancel(list(futures))
        return vanished

    def _submit(self, plan: Plan, wanted: Experiment, case: Case, missing: list[str]) -> Future[Any]:
        order = Order(
            project=dask_worker.LOADED,
            case=case,
            missing=tuple(missing),
            implementations=tuple(plan.files),
            device=plan.options.device,
            profile=plan.options.profile,
            timeout=plan.timeout,
            memory=plan.memory,
        )
        key = f"{case.experiment}/{case.folder}/{uuid.uuid4().hex}"
        resources = CLAIM if wanted.timed else None
        return self.client.submit(dask_worker.measure, order, key=key, resources=resources)

    def _finished(self, futures: list[Future[Any]], timed: bool) -> Iterator[Future[Any]]:
        """Yield each future as soon as it has ended, well or not."""
        waiting, seen = set(futures), time.monotonic()
        while waiting:
            try:
                done = wait(waiting, timeout=POLL_S, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                done = set()
            except CancelledError:
                raise self._stopped("the scheduler has gone") from None
            if done or self._usable(timed):
                seen = time.monotonic()
            elif time.monotonic() - seen > WITHOUT_WORKERS_S:
                raise self._stopped(f"all its workers have been gone for {WITHOUT_WORKERS_S:.0f} seconds")
            waiting -= done
            yield from done

    def _result(self, future: Future[Any], case: Case) -> Delivery:
        try:
            found: Delivery = future.result()
        except KilledWorker:
            raise
        except dask_worker.Refused as error:
            raise self._stopped(str(error)) from None
        except CancelledError:
            raise self._stopped("the scheduler has gone") from None
        except Exception as error:
            raise self._stopped(f"a worker could not measure {case.experiment}/{case.folder}: {_line(error)}") from None
        return found

    def _usable(self, timed: bool) -> list[str]:
        """Return the addresses of the workers that cases may go to."""
        workers: dict[str, Any] = self.client.scheduler_info(n_workers=-1)["workers"]
        claim = CLAIM if timed else {}
        return [
            address
            for address, about in workers.items()
            if all(about["resources"].get(name, 0) >= amount for name, amount in claim.items())
        ]

    def _refused(self, why: str) -> BadRequest:
        return BadRequest(f"--scheduler {self.address}: {why}")

    def _stopped(self, why: str) -> BadRequest:
        return self._refused(f"{why}; what is finished is kept, and the same command goes on from there")


def _line(error: BaseException) -> str:
    return classify(error)[1]
