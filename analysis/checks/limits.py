"""Check the limits on rendering a large store and on the memory of a long training run, and report those broken."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pandas as pd

from analysis.statistics.sections import OK, labels, sections
from analysis.store.load import Experiment
from analysis.tables import tidy

RENDERING, STEADINESS = EXPERIMENTS = ("rendering", "steadiness")
Frames = Mapping[str, tuple[Experiment, pd.DataFrame]]


def text_tables(experiment: Experiment, frame: pd.DataFrame) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Yield the name of each table of the experiment, and its cells by header, as its Markdown shows them."""
    section_list = sections(experiment, frame)
    columns = tidy.shown_columns(experiment, frame.columns)
    for name, section in zip(labels(section_list), section_list, strict=True):
        yield f"{experiment.name}, {name}", tidy.text_cells(section, columns)


def problems(frames: Frames, keys: Collection[tuple[Any, ...]], environment: str) -> Iterator[str]:
    """Yield a line for each limit that the newest cells of `keys` do not show to be kept.

    keys: experiment, `harness.records.Case.id` and implementation. An unavailable implementation breaks no limit.
    """
    for name, (experiment, frame) in frames.items():
        newest = {
            (name, cell.case.id, cell.implementation): position
            for position, cell in sorted(enumerate(experiment.cells), key=lambda numbered: numbered[1].finished)
            if cell.environment == environment
        }
        for key in keys:
            if key[0] != name:
                continue
            if key not in newest:
                yield f"{name}, {key[-1]}: not measured"
                continue
            for row in frame.loc[[newest[key]]].to_dict("records"):
                yield from (f"{name}, {key[-1]}: {problem}" for problem in _broken_limits(name, row))


def _broken_limits(name: str, row: Mapping[Any, Any]) -> Iterator[str]:
    if row["status"] == "unavailable":
        return
    if row["status"] != OK:
        yield f"{row['status']}: {row['reason']}"
    elif name == RENDERING:
        if row["limits"] == "broken":
            yield f"{row['command']} took {row['wall_s']:.1f} s and {row['peak_memory_mib']:.0f} MiB"
    else:
        if row.get("tensors") == "not constant":
            yield f"the bytes of live tensors changed by {row['tensor_change_bytes']:.0f}"
        if isinstance(verdict := row.get("growth_mib_verdict"), str) and verdict != "within":
            growth = f"{row['growth_mib']:+.2f} MiB ({row['growth_mib_lo']:+.2f} to {row['growth_mib_hi']:+.2f})"
            yield f"resident memory grew by {growth}: {verdict}"
