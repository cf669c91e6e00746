"""What the measurements and processes of a cell have answered, as one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from experiments.harness.processes.imports import EDITED
from experiments.harness.records import Row, Status, StoredCell
from experiments.harness.records.messages import End

Ends = Mapping[str, Sequence[End]]
"""By measurement, how each process that measured the cell has ended."""


def all_ok(ends_of: Ends) -> bool:
    """Tell whether every one of them ended well."""
    return all(end.ok for ends in ends_of.values() for end in ends)


def merge(cell: StoredCell, ends_of: Ends) -> StoredCell:
    """Fill a cell with what its measurements and their processes have answered.

    Rows are merged; samples stay apart by process; the first answer that is not ok decides the status. Where processes
    had other sources than others, the cell is of none of them, and has failed.
    """
    ends = [end for group in ends_of.values() for end in group]
    sources = together(end.sources or {} for end in ends)
    edited = [name for name, digest in sources.items() if digest == EDITED]
    bad = next((end for end in ends if not end.ok), None)
    last = ends[-1]
    if edited:
        bad = last = End(Status.FAILED, f"{called(edited[0])} was edited while it was measured")
    merged = replace(
        cell,
        status=bad.status if bad else Status.OK,
        reason=bad.reason if bad else "",
        lacking=bad.lacking if bad else "",
        note=last.result.note,
        stream_digest=last.stream_digest,
        init_digest=last.init_digest,
        empty={column: why for end in ends for column, why in end.result.empty.items()},
        sources=sources,
    )
    if bad:
        return replace(merged, rows=last.result.rows or [bad.result.row])
    row: Row = {}
    samples: dict[str, list[list[float]]] = {}
    for end in ends:
        row |= end.result.row
        for name, values in end.result.samples.items():
            samples.setdefault(name, []).append(values)
    return replace(
        merged,
        rows=last.result.rows or [row],
        samples=samples,
        observations={name: values for end in ends for name, values in end.result.observations.items()},
        series={name: curve for end in ends for name, curve in end.result.series.items()},
    )


def together(each: Iterable[dict[str, str]]) -> dict[str, str]:
    """Merge the sources of all workers of a cell; a file of which they had different contents was edited."""
    sources: dict[str, str] = {}
    for own in each:
        for name, digest in own.items():
            sources[name] = digest if sources.get(name, digest) == digest else EDITED
    return sources


def called(name: str) -> str:
    """Return the name of a source file that a reader knows."""
    first, _, inside = name.partition("/")
    own = first.removeprefix("external_")
    if first == own:
        return inside if first == "external" else name
    return inside or f"{own.removeprefix('model_')}.py"
