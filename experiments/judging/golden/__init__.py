"""Build and read the golden cases: points, weights and ground truth, committed under `results/golden/`.

Everything here is NumPy. `cases` lists them, `build` computes them, `files` reads and writes them; `python -m
experiments.judging.golden` builds them all anew.
"""
