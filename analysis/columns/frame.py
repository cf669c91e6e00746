"""Build the table of an experiment: the columns that its cells store, and those computed from them."""

import pandas as pd

from analysis.columns.column import Column
from analysis.columns.peers import Peers
from analysis.columns.times import BreakEven
from analysis.store.load import COMMON, Experiment
from experiments.harness.records import Scalar


def with_computed(experiment: Experiment) -> pd.DataFrame:
    """Return `experiment.rows` with the computed columns added; the index stays the same."""
    peers = Peers(experiment.cells)
    computing = [column for column in experiment.columns.values() if type(column).values is not Column.values]
    computed: list[dict[str, Scalar]] = []
    for cell in experiment.cells:
        values: dict[str, Scalar] = {}
        for column in computing:
            values |= column.values(cell, peers)
        computed.append(values)
    extra = pd.DataFrame(computed, index=pd.RangeIndex(len(computed), name="cell"))
    for column in computing:
        if isinstance(column, BreakEven) and column.name in extra.columns:
            extra[column.name] = extra[
                column.name
            ].convert_dtypes()  # keeps steps whole numbers although some rows have none
    rows = experiment.rows
    joined = rows[rows.columns.difference(extra.columns)].join(extra)
    for name in rows.columns.intersection(extra.columns):  # where nothing was computed, the stored value is kept
        joined[name] = joined[name].where(joined[name].notna(), rows[name])
    order = [*COMMON, *(name for column in experiment.columns.values() for name in column.fields)]
    return joined[[name for name in dict.fromkeys([*order, *joined.columns]) if name in joined.columns]]
