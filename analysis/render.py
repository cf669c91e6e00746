"""Render a results folder to its tables and plots."""

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.columns.frame import with_computed
from analysis.figures import style
from analysis.figures.plots import FORMATS, Output, draw
from analysis.forks import ForkedCalls
from analysis.page import Pivot, Reproduction, Slopes
from analysis.statistics.sections import sections
from analysis.store.load import Experiment, Unreadable, experiments_in, read, refuse_mixed_digests
from analysis.tables import pivot, reproduction, slopes, tidy
from experiments.harness.records.files import write_whole

KINDS: dict[type, Any] = {Pivot: pivot, Reproduction: reproduction, Slopes: slopes}
"""The module that makes each kind of further table."""


class NothingToRender(ValueError):
    """The results folder holds no cells of the experiments that were asked for."""


@dataclass
class Rendered:
    """The files that were written, and warnings for the reader, one line each."""

    files: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    frames: dict[str, tuple[Experiment, pd.DataFrame]] = field(default_factory=dict)
    """Each rendered experiment and its rows, so that callers need not read its cells again."""


@contextmanager
def without_collector() -> Iterator[None]:
    """Turn off the garbage collector, which would take a quarter of the time.

    Rendering makes millions of values, none of them in a cycle.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def render(results: Path, experiments: Sequence[str] | None = None, plots: bool = True) -> Rendered:
    """Write `tables/` and `plots/` of a results folder.

    experiments: names, or None for all that have results. Raises `NothingToRender` without results, and `MixedDigests`,
    before anything is written, if rows of one case were measured on different tasks or weights.
    """
    rendered = Rendered()
    stored = _read_experiments(results, rendered.warnings)
    names = [name for name in stored if experiments is None or name in experiments]
    missing = sorted(set(experiments or ()) - set(stored))
    if missing or not names:
        what = f"nothing to render of {', '.join(missing)}" if missing else "nothing to render"
        unread = f"; {len(rendered.warnings)} left out, such as {rendered.warnings[0]}" if rendered.warnings else ""
        raise NothingToRender(f"{what} in {results}: run `maml-bench run` first{unread}")
    for name in names:
        refuse_mixed_digests(stored[name])
    looks = style.assign((cell.computes, cell.implementation) for e in stored.values() for cell in e.cells)
    with ForkedCalls[list[Path]]() as calls:
        for name in names:
            experiment = stored[name]
            rendered.warnings += [f"{name}: {line}" for line in experiment.warnings]
            frame = with_computed(experiment)
            rendered.frames[name] = experiment, frame
            sections(experiment, frame)  # made before forking, for tables and figures alike
            if plots:
                calls.start(partial(_plots, results, experiment, frame, looks))
        for experiment, frame in rendered.frames.values():
            for drawn in _tables(experiment, frame):
                rendered.files += _save(results / "tables", drawn, ("csv", "md"))
        for files in calls.results():
            rendered.files += files
    return rendered


def _plots(results: Path, experiment: Experiment, frame: pd.DataFrame, looks: style.Looks) -> list[Path]:
    figures = draw(experiment, frame, looks)
    return [file for output in figures for file in _save(results / "plots", output, FORMATS)]


def _read_experiments(results: Path, warnings: list[str]) -> dict[str, Experiment]:
    """Read every experiment that has cells.

    They are all read, even if few are rendered, so that an implementation keeps its colour and marker.
    """
    experiments = {}
    for name in experiments_in(results):
        try:
            experiment = read(results, name)
        except Unreadable as error:
            warnings.append(str(error))
            continue
        if experiment.cells:
            experiments[name] = experiment
        else:
            warnings += [f"{name}: {line}" for line in experiment.warnings]
    return experiments


def _tables(experiment: Experiment, frame: pd.DataFrame) -> Iterator[Output]:
    """Yield the experiment's main table, then those that its page declares; one without data has no files."""
    yield _table(experiment.name, frame, tidy.markdown(experiment, frame))
    for spec in experiment.page.tables:
        module = KINDS[type(spec)]
        table = module.frame(spec, experiment, frame)
        markdown = module.markdown(spec, experiment, table) if len(table) else ""
        yield _table(spec.name, table, markdown) if markdown else Output(spec.name, {})


def further_tables(experiment: Experiment, frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the name and rows of each further table that the experiment's page declares, if it has data."""
    for spec in experiment.page.tables:
        table = KINDS[type(spec)].frame(spec, experiment, frame)
        if len(table):
            yield spec.name, table


def _table(name: str, frame: pd.DataFrame, markdown: str) -> Output:
    return Output(name, {"csv": tidy.csv(frame).encode(), "md": markdown.encode()})


def _save(folder: Path, output: Output, endings: Iterable[str]) -> list[Path]:
    """Write the files of a figure or table, and delete old files of one that no longer has data."""
    written = []
    for ending in endings:
        file = folder / f"{output.name}.{ending}"
        if ending in output.files:
            write_whole(file, output.files[ending], durable=False)
            written.append(file)
        else:
            file.unlink(missing_ok=True)
    return written
