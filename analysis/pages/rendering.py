"""Declare how the results of `rendering` are shown."""

from analysis.columns.column import Column, Duration
from analysis.page import Page

PAGE = Page(
    question="How long do the tables and plots of a very large store take, and how much memory?",
    columns=(
        Column("command", "what was called"),
        Column("cells", "cells in the store"),
        Column("store_mib", "their size, MiB"),
        Duration("wall_s", "seconds from its start to its end"),
        Duration("cpu_s", "seconds of processor time that it took"),
        Column("peak_memory_mib", "peak memory of it and its own processes, shared pages counted once, MiB"),
        Column("limits", "whether it kept within 30 s and 2048 MiB"),
    ),
    shown=("command", "cells", "store_mib", "wall_s", "cpu_s", "peak_memory_mib", "limits"),
)
