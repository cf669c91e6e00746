"""What import contracts cannot say without a list of every experiment."""

import grimp

from experiments.harness import experiment
from experiments.harness.packages import PACKAGES

BELOW = ("experiments.harness", "experiments.judging", "experiments.problems")


def test_what_experiments_are_made_of_imports_no_experiment() -> None:
    graph = grimp.build_graph("experiments", cache_dir=None)
    declared = {experiment.file(name).removesuffix(".py").replace("/", ".") for name in experiment.names()}
    assert declared <= graph.modules
    above = {module for module in graph.modules if module.startswith("experiments.papers")} | declared
    below = [module for module in sorted(graph.modules) if module.startswith(BELOW)]
    imported = {(module, other) for module in below for other in graph.find_modules_directly_imported_by(module)}
    assert {pair for pair in imported if pair[1] in above} == set()


def test_no_modules_import_one_another_in_a_circle() -> None:
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    left = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    while free := {module for module, imported in left.items() if not imported & left.keys()}:
        left = {module: imported for module, imported in left.items() if module not in free}
    assert sorted(left) == []


def test_what_users_import_imports_the_contract_and_nothing_else_of_ours() -> None:
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    modules = {"maml_bench", *graph.find_descendants("maml_bench")}
    imported = set().union(*map(graph.find_modules_directly_imported_by, modules))
    assert imported - modules == {"baselines.contract"}


def test_only_what_distributes_a_run_and_the_command_line_know_of_it() -> None:
    graph = grimp.build_graph("experiments", cache_dir=None)
    package, chooses = "experiments.harness.distributed", "experiments.harness.__main__"
    inside = {package, *graph.find_descendants(package)}
    others = graph.find_descendants("experiments.harness") - inside - {chooses}
    imported = {(module, other) for module in others for other in graph.find_modules_directly_imported_by(module)}
    assert {pair for pair in imported if pair[1] in inside} == set()
    assert inside & graph.find_modules_directly_imported_by(chooses)  # or this test would look at nothing
