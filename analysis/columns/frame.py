"""The table of an experiment: what its cells store, and beside each column what is computed of it."""

import pandas as pd

from analysis.columns.column import Column
from analysis.columns.peers import Peers
from analysis.columns.times import BreakEven
from analysis.store.cells import Value
from analysis.store.load import COMMON, Experiment


def with_computed(experiment: Experiment) -> pd.DataFrame:
    """Return `experiment.rows` with the computed columns; its index is theirs."""
    peers = Peers(experiment.cells)
    computing = [column for column in experiment.columns.values() if type(column).values is not Column.values]
    computed: list[dict[str, Value]] = []
    for cell in experiment.cells:
        values: dict[str, Value] = {}
        for column in computing:
            values |= column.values(cell, peers)
        computed.append(values)
    extra = pd.DataFrame(computed, index=pd.RangeIndex(len(computed), name="cell"))
    for column in computing:
        if isinstance(column, BreakEven) and column.name in extra.columns:
            extra[column.name] = extra[column.name].convert_dtypes()  # steps stay whole although some rows have none
    rows = experiment.rows
    joined = rows[rows.columns.difference(extra.columns)].join(extra)
    for name in rows.columns.intersection(extra.columns):  # what a row stores stands where nothing was computed
        joined[name] = joined[name].where(joined[name].notna(), rows[name])
    order = [*COMMON, *(name for column in experiment.columns.values() for name in column.fields)]
    return joined[[name for name in dict.fromkeys([*order, *joined.columns]) if name in joined.columns]]
