"""Where the time of a training step goes, operator by operator.

    python benchmarks/profile_step.py [--model NAME] [--steps N] [--operators N]
        [--before | --dtrb PATH]

The step is that of benchmarks/training_speed.py. With --before it is without what made it faster
since: freed memory is given back to the system, and the optimizer goes from tensor to tensor.
With --dtrb it is DTRB's. The profiler itself takes time.
"""

import argparse
import time
from functools import partial

from measuring import describe_machine, dtrb_argument
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile
from training_speed import Step, dtrb_step, own_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="none_vgg_bilstm_ctc", help="of conf/model")
    parser.add_argument("--steps", type=int, default=3, help="that are profiled")
    parser.add_argument("--operators", type=int, default=14, help="that are shown")
    parser.add_argument("--before", action="store_true")
    dtrb_argument(parser)
    given = parser.parse_args()
    if given.before and given.dtrb:
        parser.error("--before is about Hanline's step, --dtrb about DTRB's")
    print(describe_machine())
    make = partial(dtrb_step, given.dtrb) if given.dtrb else partial(own_step, plain=given.before)
    step: Step = make(given.model)
    for _ in range(3):
        step()
    start = time.perf_counter()
    for _ in range(given.steps):
        step()
    unprofiled = (time.perf_counter() - start) / given.steps
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(given.steps):
            step()
    averages = profiled.key_averages()
    averages.sort(key=lambda operator: -operator.self_cpu_time_total)
    table = Table("operator", "ms a step", "calls a step", box=None, pad_edge=False)
    for operator in averages[: given.operators]:
        milliseconds = operator.self_cpu_time_total / 1000 / given.steps
        table.add_row(operator.key, f"{milliseconds:.1f}", f"{operator.count / given.steps:.0f}")
    all_time = sum(operator.self_cpu_time_total for operator in averages) / 1000 / given.steps
    table.add_row("all operators", f"{all_time:.1f}", "")
    Console(width=120).print(table)
    print(f"without the profiler: {1000 * unprofiled:.1f} ms a step")


if __name__ == "__main__":
    main()
