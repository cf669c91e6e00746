"""Declare how the results of `cost` are shown."""

from analysis.columns.column import Column, Duration, Error, Sample, Time
from analysis.columns.times import BreakEven, Ratio
from analysis.page import Intervals, Page, Pivot, Scaling, Slopes

PAGE = Page(
    question="What does one meta-gradient cost in each implementation, in time and in memory, and how does that grow?",
    columns=(
        Time(
            "step_ms", "milliseconds for one meta-gradient of the whole meta-batch, data resident and new to every call"
        ),
        *(Ratio(of="step_ms", against=reference) for reference in ("learn2learn", "higher", "jax", "jax-mixed-mode")),
        Time(
            "arithmetic_ms",
            "milliseconds for the products and copies of the adjoint sweep, at this process' own speeds",
        ),
        Time(
            "conversion_ms",
            "milliseconds to prepare batch and parameters and make tensors of the result; not in step_ms",
        ),
        Time(
            "whole_call_ms", "milliseconds for a call as training makes it: prepare, meta-gradient, result as tensors"
        ),
        Sample(
            "cpu_per_wall",
            "processor time, helper processes included, over wall time while timed; above 1, more than one core was at "
            "work",
        ),
        Column("compiled", "whether it compiles"),
        Column("execution", "how it ran, where the implementation chooses"),
        Duration("first_step_cold_s", "seconds for the first step of a process where nothing has been compiled before"),
        BreakEven(),
        Duration("first_step_warm_s", "seconds for the first step of a process that finds what another has compiled"),
        Column("peak_gpu_mib", "peak GPU memory allocated during the first call, workspaces included, MiB"),
        Column("peak_gpu_reserved_mib", "peak GPU memory reserved from the driver in the first call, MiB"),
        Column("resident_gpu_mib", "GPU memory allocated before the call, model and batch resident, MiB"),
        Column("peak_tensor_mib", "peak of all tensors during one call, model and batch included, MiB"),
        Column("resident_rss_mib", "resident memory of the process before its first call, MiB"),
        Column(
            "peak_rss_mib", "peak resident memory of the process during its first call, a loaded compiler included, MiB"
        ),
        Column("oracle", "what it was verified against, before and after timing"),
        Error("error_float64", "error against the ground truth in float64"),
        Error("error_float32", "error of the very object that was timed, in float32"),
    ),
    shown=(
        "step_ms",
        "conversion_ms",
        "whole_call_ms",
        "speedup_vs_learn2learn",
        "speedup_vs_higher",
        "speedup_vs_jax",
        "arithmetic_ms",
        "first_step_cold_s",
        "first_step_warm_s",
        "breakeven_steps",
        "peak_gpu_mib",
        "peak_tensor_mib",
        "peak_rss_mib",
        "error_float32",
        "oracle",
        "execution",
    ),
    best_first="step_ms",
    tables=(
        Slopes(
            name="cost_slopes",
            of=("step_ms", "peak_tensor_mib"),
            factors=("tasks", "inner_steps", "width", "shots100_inner_steps", "cnn_inner_steps"),
        ),
        Pivot(name="cost_accuracy", value="error_float32", rows="implementation", columns="inner_steps"),
    ),
    figures=(
        Intervals(
            name="cost_time",
            title="Time of one meta-gradient",
            values=("step_ms",),
            xlabel="milliseconds (median, 95 % interval)",
            studies=False,
        ),
        Intervals(
            name="cost_memory",
            title="Peak memory of one meta-gradient",
            values=("peak_gpu_mib", "peak_tensor_mib", "peak_rss_mib"),
            xlabel="MiB",
            studies=False,
        ),
        Scaling(
            name="cost_scaling_time",
            title="How the time of second-order MAML grows",
            factors={
                "tasks": "tasks in the meta-batch",
                "inner_steps": "inner steps K",
                "width": "hidden units per layer",
            },
            lines={"arithmetic_ms": "products and copies of the adjoint sweep"},
            gradient="pretraining-compiled",
            computes=("maml",),
            ylabel="milliseconds",
            value="step_ms",
        ),
        Scaling(
            name="cost_scaling_memory",
            title="How the memory of second-order MAML grows",
            factors={
                "tasks": "tasks in the meta-batch",
                "inner_steps": "inner steps K, 10 shots",
                "shots100_inner_steps": "inner steps K, 100 shots",
            },
            computes=("maml",),
            ylabel="peak of all tensors, MiB",
            value="peak_tensor_mib",
        ),
        Scaling(
            name="cost_scaling_memory_cnn",
            title="How the memory grows with a convolutional network: 4 tasks, 64 filters, float64",
            factors={"cnn_inner_steps": "inner steps K"},
            computes=("maml",),
            ylabel="peak of all tensors, MiB",
            value="peak_tensor_mib",
        ),
    ),
)
