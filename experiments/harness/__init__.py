"""plan → isolate → verify → measure → store. What is measured, and why, stands in the experiments.

In the parent process: `run` plans, `isolate` starts and stops workers, `schedule` decides who works when, `store` keeps
the cells. In a worker: `worker` receives a case, `bench` builds what it asks for, `clock` and `memory` measure.
`records` are what both and `analysis` share.
"""
