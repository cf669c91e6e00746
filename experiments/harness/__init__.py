"""plan → isolate → verify → measure → store. What is measured, and why, stands in the experiments.

In the parent process: `run` plans, `isolate` starts and stops children, `turns` decides who works when, `store` keeps
the cells. In a child: `child` receives a case, `bench` builds what it asks for, `verify`, `clock` and `memory` measure.
"""
