"""A synthetic results folder, written as `docs/results.md` says, and pages for what is in it."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.columns.column import Column, Mean, Time, plain
from analysis.columns.losses import Difference
from analysis.columns.times import FIRST_STEP, BreakEven, Ratio
from analysis.page import Page

Json = dict[str, Any]
PAGES: dict[str, Page] = {}
"""What `analysis.pages.find` finds first, until the test ends."""


def digest(text: str) -> str:
    """A SHA-256 that depends on `text` only."""
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """Writes the store of one results folder."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.cells = results / "cells"

    def environment(self, **changes: Any) -> str:
        """Store an environment; returns its digest."""
        fields: Json = {
            "python": "3.11.9",
            "torch": "2.9.0",
            "numpy": "2.4.6",
            "device_model": "Test CPU",
            "cpu_model": "Test CPU",
            "cores": 8,
            "platform": "Linux x86_64",
            "tf32": False,
            "cuda": "",
        } | changes
        name = digest(json.dumps(fields, sort_keys=True))
        self._write(self.cells / "environments" / f"{name}.json", fields)
        return name

    def declare(
        self,
        name: str,
        columns: dict[str, str] | None = None,
        references: Sequence[str] = (),
        ratio_of: str = "",
        compare: str = "",
        more: Sequence[Column] = (),
        **changes: Any,
    ) -> None:
        """Give an experiment a page, and a folder in the store.

        columns: their meanings, by names that tell their kinds; more: others.
        """
        ratios = [Ratio(of=ratio_of, against=reference) for reference in references]
        made_of = {ratio_of: ratios, compare: [Difference(of=compare)] if compare else [], FIRST_STEP: [BreakEven()]}
        declared: list[Column] = []
        for column, meaning in (columns or {}).items():
            kind = Time if column == "step_ms" else Mean if column == compare else type(plain(column))
            declared += [kind(column, meaning), *made_of.pop(column, [])]
        declared += [column for left in made_of.values() for column in left]
        plainly: Json = {"question": f"What does {name} ask?", "shown": (), "columns": (*declared, *more)}
        PAGES[name] = Page(**plainly | changes)
        (self.cells / name).mkdir(parents=True, exist_ok=True)

    def cell(
        self, experiment: str, implementation: str, case: Json | None = None, key: str = "", **changes: Any
    ) -> Path:
        """Store one cell; `case` and the other fields are changes of a plain one that is ok. Returns its file."""
        setting: Json = {
            "name": "plain",
            "params": {"tasks": 10, "inner_steps": 1, "shots": 5},
            "device": "cpu",
            "dtype": "float32",
            "seed": 0,
            "threads": 1,
        } | (case or {})
        draws = f"{setting['name']} {setting['seed']}"
        fields: Json = {
            "format": 1,
            "experiment": experiment,
            "implementation": implementation,
            "case": setting,
            "computes": "maml",
            "library": "",
            "library_version": "",
            "environment": "",
            "round_group": None,
            "status": "ok",
            "reason": "",
            "note": "",
            "stream_digest": digest(f"stream {draws}"),
            "init_digest": digest(f"init {draws}"),
            "rows": [{}],
            "empty": {},
            "samples": {},
            "observations": {},
            "series": {},
            "sources": {},
            "finished": "2025-01-01T00:00:00+00:00",
        } | changes
        fields["environment"] = fields["environment"] or self.environment()
        key = key or digest(json.dumps(fields, sort_keys=True))[:12]
        identity = "-".join(str(setting[part]) for part in ("name", "device", "dtype", "seed", "threads"))
        file = self.cells / experiment / identity / f"{implementation}.{key}.json"
        self._write(file, fields)
        return file

    def _write(self, file: Path, content: Json) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content), encoding="utf-8")
