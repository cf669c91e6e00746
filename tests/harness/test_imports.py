"""What a process notes of its imports, and what files are called in cells."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.harness.processes import imports
from experiments.harness.processes.imports import EDITED, file_of, name_of
from experiments.harness.sources import Sources
from experiments.harness.status import ROOT as PROJECT

NOTING = """
import json, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from experiments.harness.processes import imports
imports.install()
folder = Path({folder!r})
{body}
print(json.dumps(imports.sources()))
"""


def noted(folder: Path, body: str, *path: Path) -> dict[str, str]:
    """What a process that does `body` says of its sources; `path`: its PYTHONPATH."""
    code = NOTING.format(root=str(PROJECT), folder=str(folder), body=body)
    env = {"PYTHONPATH": ":".join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return {name: digest for name, digest in found.items() if not name.startswith("experiments/")}


# -- what a process notes


def test_a_module_counts_as_it_was_when_it_was_found_also_if_it_is_gone_or_unloaded(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("HERE = 1\n")
    digest = imports.sha256(tmp_path / "one.py")
    for after in ("(folder / 'one.py').write_text('other')", "(folder / 'one.py').unlink()", "del sys.modules['one']"):
        (tmp_path / "one.py").write_text("HERE = 1\n")
        assert noted(tmp_path, f"import one\n{after}", tmp_path) == {"external/one.py": digest}, after
    reloaded = "import one, importlib\n(folder / 'one.py').write_text('x = 2')\nimportlib.reload(one)"
    assert noted(tmp_path, reloaded, tmp_path) == {"external/one.py": EDITED}


def test_each_cell_begins_anew_with_what_is_still_loaded(tmp_path: Path) -> None:
    for name in ("one", "two", "mine"):
        (tmp_path / f"{name}.py").write_text("HERE = 1\n")
    body = (
        "import one, two\nimports.execute('external_mine', folder / 'mine.py')\ndel sys.modules['two']\nimports.begin()"
    )
    assert list(noted(tmp_path, body, tmp_path)) == ["external/one.py"]
    edited = (
        f"{body}\n(folder / 'mine.py').write_text('x')\nimports.execute('external_mine', folder / 'mine.py')\n"
        "(folder / 'two.py').write_text('x = 1')\nimport two"
    )
    assert EDITED not in noted(tmp_path, edited, tmp_path).values()  # of the cell before it was another


def test_neither_python_nor_libraries_are_noted_but_all_else_is(tmp_path: Path) -> None:
    library = tmp_path / "site-packages"
    for folder in (library, tmp_path / "dist-packages", tmp_path / "own"):
        folder.mkdir()
        (folder / f"from_{folder.name.replace('-', '_')}.py").write_text("HERE = 1\n")
    body = "import json, wave, from_site_packages, from_dist_packages, from_own, numpy"
    assert list(noted(tmp_path, body, library, tmp_path / "dist-packages", tmp_path / "own")) == [
        "external/from_own.py"
    ]


def test_what_was_imported_before_is_noted_at_once(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import early\n")
    (tmp_path / "early.py").write_text("HERE = 1\n")
    assert list(noted(tmp_path, "", tmp_path)) == ["external/early.py", "external/sitecustomize.py"]


# -- names


def test_names_are_found_again_and_tell_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "external_mine": tmp_path / "a" / "own" / "mine.py",
        "external_model_net": tmp_path / "b" / "own" / "net.py",
    }
    elsewhere = tmp_path / "else"
    monkeypatch.syspath_prepend(elsewhere)
    files = {
        "external_mine/x.py": "a/own/x.py",
        "external_mine/deep/er/x.py": "a/own/deep/er/x.py",
        "external_mine/../x.py": "a/x.py",
        "external_mine/../library/x.py": "a/library/x.py",
        "external_model_net/x.py": "b/own/x.py",
        "external/some_library/core.py": "else/some_library/core.py",
        "external/some_module.py": "else/some_module.py",
    }
    for place in files.values():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("")
    (elsewhere / "some_library" / "__init__.py").write_text("")
    for name, place in files.items():
        path = str(Path(place).relative_to(place.split("/")[0]))
        assert name_of(tmp_path / place, path, given) == name
        assert file_of(name, given) and file_of(name, given).resolve() == tmp_path / place  # type: ignore[union-attr]
        assert str(tmp_path) not in name
    assert name_of(PROJECT / "baselines" / "contract.py", "baselines/contract.py", given) == "baselines/contract.py"
    assert name_of(PROJECT / ".venv" / "x.py", "x.py", given) == "external/x.py"
    for lost in ("external_other", "external_other/x.py", "external/no_such_thing.py", "external/no/such.py"):
        assert file_of(lost, given) is None
    assert Sources(given).now("external_mine/absent.py") == ""
