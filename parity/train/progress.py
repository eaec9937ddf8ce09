"""Progress of a run, for a person: a bar on a terminal, plain lines every few seconds elsewhere."""

import statistics
import sys
import time
from collections import deque

from tqdm import tqdm


class Progress:
    """Step display of one run. `step` after every optimiser step, `line` for what should stay on the screen."""

    def __init__(self, label: str, total: int, done: int = 0, every_seconds: float = 5.0, stream=None):
        self.label, self.total, self.done, self.every = label, total, done, every_seconds
        self.stream = stream or sys.stderr
        self.start, self.start_step, self.last = time.monotonic(), done, time.monotonic()
        self.watch = GradientWatch()
        self.bar = None
        if self.stream.isatty():
            self.bar = tqdm(total=total, initial=done, desc=label, unit="step", file=self.stream, dynamic_ncols=True)

    def step(
        self, epoch: int, loss: float, lr: float, gradient: float, data_seconds: float, step_seconds: float
    ) -> None:
        """Count one step and show it, at most every few seconds when this is no terminal.

        `gradient` is the global gradient norm before clipping.
        """
        self.done += 1
        figures = f"epoch {epoch} loss {loss:.4g} lr {lr:.3g} grad {gradient:.3g}"
        figures += f" data {data_seconds * 1e3:.0f} ms step {step_seconds:.3f} s"
        if self.bar is not None:
            self.bar.set_postfix_str(figures, refresh=False)
            self.bar.update()
        elif time.monotonic() - self.last >= self.every:
            self.last = time.monotonic()
            print(f"{self.label} {self.done}/{self.total} {figures} ETA {self.eta()}", file=self.stream, flush=True)
        if warning := self.watch.see(gradient):
            self.line(f"step {self.done}: {warning}")

    def skip(self, steps: int) -> None:
        """Count the first `steps` as done before: a continued run."""
        self.done = self.start_step = steps
        if self.bar is not None:
            self.bar.initial = self.bar.n = steps
            self.bar.refresh()

    def eta(self) -> str:
        """Remaining time as h:mm:ss, from the mean step so far."""
        steps = max(1, self.done - self.start_step)
        seconds = int((time.monotonic() - self.start) / steps * (self.total - self.done))
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"

    def line(self, text: str) -> None:
        """Print a line that stays."""
        if self.bar is not None:
            self.bar.write(f"{self.label} {text}", file=self.stream)
        else:
            print(f"{self.label} {text}", file=self.stream, flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


class GradientWatch:
    """Says when a gradient norm is far above those of the steps before it."""

    def __init__(self, factor: float = 20.0, window: int = 50, least: int = 10):
        self.factor, self.least, self.norms = factor, least, deque(maxlen=window)

    def see(self, norm: float) -> str | None:
        """A sentence when `norm` stands out against the median of the last steps, else None."""
        usual = statistics.median(self.norms) if len(self.norms) >= self.least else None
        self.norms.append(norm)
        if usual is None or norm <= self.factor * usual:
            return None
        return f"gradient norm {norm:.4g}, {norm / usual if usual else float('inf'):.0f} times the usual {usual:.4g}"
