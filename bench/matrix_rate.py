"""How many floating-point operations a second a matrix product reaches here: the ceiling that training is held against.

Run by the benchmarks as a process of its own: the median of some square products, in the compute type of the run.
"""

import statistics
import time

import torch

from measure import read_task, write_figures

SIZE = 2048
NUM_PRODUCTS = 15


def main() -> None:
    task = read_task()
    torch.set_num_threads(task["threads"])
    a, b = (torch.randn(SIZE, SIZE).to(getattr(torch, task["dtype"])) for _ in range(2))
    out = torch.empty_like(a)
    for _ in range(3):
        torch.mm(a, b, out=out)
    seconds = []
    for _ in range(NUM_PRODUCTS):
        started = time.perf_counter()
        torch.mm(a, b, out=out)
        seconds.append(time.perf_counter() - started)
    write_figures(task, {"flops_per_second": 2 * SIZE**3 / statistics.median(seconds), "versions": {"torch": torch.__version__}})


if __name__ == "__main__":
    main()
