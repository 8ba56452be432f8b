"""A trainer in a real worker process that follows a script, for the tests of the training loop."""

from __future__ import annotations

from typing import Any


class Scripted:
    """Counts epochs of three steps; its weights are the epoch number."""

    def __init__(self) -> None:
        self.weights = 0
        self.best = 0
        self.step = 0
        self.calls: list[str] = []
        self.fail_at: int | None = None
        self.taught = 0

    def plan_failure(self, step: int) -> None:
        """The loss of this step, counted from 1, will be no number."""
        self.fail_at = step

    def start_training(self, **settings: Any) -> dict[str, Any]:
        """Begins."""
        self.calls.append(f"start {settings['epochs']}")
        return {
            "loss": "mse", "learning_rate": 0.1, "batch_size": 4, "steps_per_epoch": 3,
            "notes": ["the loss is mse"],
        }  # fmt: skip

    def prepare_teacher(self, limit_s: float) -> dict[str, int]:
        """Answers ten samples at a call."""
        del limit_s
        self.taught += 10
        return {"done": self.taught, "total": 30}

    def advance(self, limit_s: float) -> dict[str, Any]:
        """One step."""
        del limit_s
        self.step += 1
        failed = self.step if self.step == self.fail_at else None
        done = self.step % 3 == 0 and failed is None
        self.weights += int(done)
        return {
            "epoch": (self.step + 2) // 3, "step": (self.step - 1) % 3 + 1, "steps_per_epoch": 3,
            "loss": 1 / self.step, "epoch_done": done, "failed_at": failed,
        }  # fmt: skip

    def keep(self) -> None:
        """Keeps the weights."""
        self.best = self.weights

    def restore(self) -> None:
        """Puts them back."""
        self.weights = self.best

    def end_training(self) -> None:
        """Ends."""
        self.calls.append("end")

    def state(self) -> dict[str, Any]:
        """What it has become."""
        return {"weights": self.weights, "calls": self.calls}
