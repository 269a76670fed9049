"""Progress on standard error: a live line where a person looks on, a few plain lines in a log.

step 40: validation loss 1.9958 (best)
step 42/126 ━━━━━━━━━━━━━━╸━━━━━━━━━━━━━━━━━━━━━━━━━ epoch 0.67  loss 2.013  rate 4.6e-04  812 tokens/s  1.45 GB  2 min left
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tunesmith.cli.terminal import console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from tunesmith.render.renderer import Renderer
    from tunesmith.types import RenderedExample

MOST_PLAIN_LINES = 20
"""Of steps, in a log; validations come on top."""
ROOM_FOR_A_BAR = 100
"""Columns; on a narrower terminal the figures need them."""
SMOOTHED_STEPS = 10
"""The loss on screen is the mean of this many steps: one step's loss says more about its examples than about progress."""


FIGURES = {
    "loss": "loss {:.3f}",
    "reward_accuracy": "accuracy {:.0%}",
    "reward_margin": "margin {:.3f}",
    "kl": "kl {:.2f}",
    "log_odds_ratio": "log odds {:.3f}",
}
"""What a step's line shows of its metrics, where it has them: the last four are of preference objectives."""


def is_live(screen: Console) -> bool:
    """Whether lines can be drawn over."""
    return screen.is_terminal and not screen.is_dumb_terminal


class Pace:
    """What the last steps say about the rest."""

    def __init__(self, num_steps: int, first_step: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.num_steps, self.first_step, self._clock = num_steps, first_step, clock
        self._started = clock()
        self._recent: deque[dict[str, Any]] = deque(maxlen=SMOOTHED_STEPS)

    def figures(self, metrics: dict[str, Any]) -> str:
        """`epoch 0.67  loss 2.013  lr 4.6e-04  812 tok/s  1.45 GB  2 min left`, after one more step."""
        self._recent.append(metrics)
        speed = sum(m["num_tokens"] for m in self._recent) / sum(m["seconds"] for m in self._recent)
        memory = f"{metrics['memory_bytes'] / 1e9:.2f} GB"
        shown = [form.format(self._mean(name)) for name, form in FIGURES.items() if name in metrics]
        figures = [f"epoch {metrics['epoch']:.2f}", *shown, f"lr {metrics['learning_rate']:.1e}"]
        return "  ".join([*figures, f"{speed:,.0f} tok/s", memory, self._time_left(metrics["step"])])

    def _mean(self, name: str) -> float:
        """Over the last steps that have the figure, each as heavy as the terms its loss is the mean of."""
        having = [m for m in self._recent if name in m]
        return float(sum(m[name] * m["num_terms"] for m in having) / sum(m["num_terms"] for m in having))

    def _time_left(self, step: int) -> str:
        """From all that passed since the start, validations and checkpoints included."""
        seconds = (self._clock() - self._started) / (step - self.first_step) * (self.num_steps - step)
        return f"{duration(seconds)} left"


def duration(seconds: float) -> str:
    """`40 s`, `3 min`, `2 h 05 min`."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


class Watch:
    """Draws a training run; a `tunesmith.train.observer.Observer`."""

    def __init__(self, screen: Console | None = None) -> None:
        self._screen = screen or console()
        self._pace = Pace(0, 0)
        self._bar: Progress | None = None
        self._plain_every = 1

    def say(self, text: str) -> None:
        self._screen.print(text)

    def show_example(self, rendered: RenderedExample, renderer: Renderer) -> None:
        from tunesmith.cli.pictures import draw

        self._screen.print()
        draw(rendered, renderer, self._screen)
        self._screen.print()

    def started(self, num_steps: int, first_step: int) -> None:
        self._pace = Pace(num_steps, first_step)
        self._plain_every = max(1, math.ceil((num_steps - first_step) / MOST_PLAIN_LINES))
        if is_live(self._screen):
            self._bar = _bar(self._screen, "step {task.completed}/{task.total}")
            self._bar.add_task("train", total=num_steps, completed=first_step, figures="first step")
            self._bar.start()

    def stepped(self, metrics: dict[str, Any]) -> None:
        figures, step = self._pace.figures(metrics), metrics["step"]
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=step, figures=figures)
        elif step % self._plain_every == 0 or step == self._pace.num_steps:
            total = str(self._pace.num_steps)
            self._screen.print(f"step {step:>{len(total)}}/{total}  {figures}")

    def validated(self, metrics: dict[str, Any]) -> None:
        text = f"step {metrics['step']}: validation loss {metrics['loss']:.4f}"
        if "reward_accuracy" in metrics:
            text += f", reward accuracy {metrics['reward_accuracy']:.0%}"
        self._screen.print(text + (" (best)" if metrics["is_best"] else ""), style="bold" if metrics["is_best"] else None)

    def finished(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None


class Stages:
    """Draws counted work that comes in stages: `OnProgress` of an evaluation, or one stage of generation."""

    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._bar = _bar(screen, "{task.description} {task.completed}/{task.total}") if is_live(screen) else None
        self._tasks: dict[str, TaskID] = {}
        self._quarters: dict[str, int] = {}
        self._first = (0.0, 0)
        """When the stage was first heard of, and how much was done then."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` in this stage."""
        if self._bar:
            if stage not in self._tasks:
                self._bar.start()
                self._tasks[stage] = self._bar.add_task(stage, total=total, figures="")
                self._first = (time.monotonic(), done)
            self._bar.update(self._tasks[stage], completed=done, figures=self._time_left(done, total))
        elif (quarter := 4 * done // total) > self._quarters.get(stage, 0):
            self._quarters[stage] = quarter
            self._screen.print(f"{stage} {done}/{total}")

    def _time_left(self, done: int, total: int) -> str:
        started, first = self._first
        if done in (first, total):
            return ""
        return f"{duration((time.monotonic() - started) / (done - first) * (total - done))} left"

    def stop(self) -> None:
        if self._bar and self._tasks:
            self._bar.stop()
            self._screen.print()


@contextmanager
def stages() -> Iterator[Stages]:
    """Stages that leave the terminal clean, whatever happens."""
    drawn = Stages(console())
    try:
        yield drawn
    finally:
        drawn.stop()


@contextmanager
def waiting(text: str) -> Iterator[Callable[[str], None]]:
    """A sign of life on a terminal while `text` goes on, gone afterwards; nothing in a log. Yields what changes the text."""
    screen = console()
    if not is_live(screen):
        yield lambda text: None
        return
    with screen.status(text, refresh_per_second=4) as status:
        yield status.update


def _bar(screen: Console, description: str) -> Progress:
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
    from rich.table import Column

    one_line = Column(no_wrap=True, overflow="ellipsis")
    bar: list[ProgressColumn] = [BarColumn(bar_width=20)] if screen.width >= ROOM_FOR_A_BAR else []
    figures = TextColumn("{task.fields[figures]}", markup=False, table_column=one_line)
    return Progress(TextColumn(description, markup=False), *bar, figures, console=screen, refresh_per_second=4)
