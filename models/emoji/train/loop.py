"""A training loop that can be killed at any moment and resumed.

Every batch is made from its step number alone, so the state is the weights, the optimiser and the step.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from muon import Muon
from torch import Tensor, nn

SAVE_SECONDS = 120
LOG_STEPS = 50


@dataclass(frozen=True)
class Plan:
    """Length and learning rate of a training."""

    name: str
    steps: int
    rate: float
    warmup: int = 200
    decay_share: float = 0.4  # last part of the steps, in which the rate falls to zero linearly
    ema: float = 0.0  # decay of the running average of the weights; 0 for none
    muon: bool = False  # Muon for the weights inside that are matrices, AdamW for the rest; else AdamW for all

    def rate_at(self, step: int) -> float:
        """Learning rate at a step: up linearly, constant, down linearly."""
        left = (self.steps - step) / (self.decay_share * self.steps)
        return self.rate * min(1.0, (step + 1) / self.warmup, max(left, 0.0))


def step_generator(seed: int, step: int) -> torch.Generator:
    """Generator of one step, independent of interruptions."""
    return torch.Generator().manual_seed(seed * 10_000_019 + step)


def save_atomically(state: object, path: Path) -> None:
    """Write with torch.save so that a kill leaves the old file or the new one, never half of one."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


class ThreadChoice:
    """Choice of the number of threads that is fastest now.

    Threads wait for each other in every operation. Where other programs hold a core, two threads are often slower
    than one, so both are timed again and again.
    """

    TRIAL = 4  # steps
    PERIOD = 120  # steps between trials

    def __init__(self, most: int) -> None:
        self.most = most
        self.began = 0.0
        self.seconds = [0.0, 0.0]

    def at_step(self, step: int) -> None:
        """Measure and switch; called before every step."""
        phase, now = step % self.PERIOD, time.monotonic()
        if self.most == 1 or phase > 2 * self.TRIAL or phase % self.TRIAL:
            return
        if phase > 0 and self.began:
            self.seconds[phase // self.TRIAL - 1] = now - self.began
        if phase == 2 * self.TRIAL:
            torch.set_num_threads(1 if self.seconds[0] < self.seconds[1] else self.most)
        else:
            torch.set_num_threads(self.most if phase else 1)
        self.began = now


def train(
    plan: Plan,
    network: nn.Module,
    loss_of_step: Callable[[int], Tensor],
    folder: Path,
) -> None:
    """Run the plan to its end; leave the weights, averaged if requested, in ``network``.

    Args:
        plan: steps and rates.
        network: what learns.
        loss_of_step: makes the batch of a step and returns its loss, a scalar.
        folder: where ``<plan.name>.pt`` is kept.
    """
    path = folder / f"{plan.name}.pt"
    optimizers = _optimizers(plan, network)
    average = {k: v.detach().clone() for k, v in network.state_dict().items()} if plan.ema else {}
    first = 0
    if path.exists():
        state = torch.load(path, weights_only=True)
        network.load_state_dict(state["network"])
        for optimizer, saved_state in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved_state)
        average, first = state["average"], state["step"]
        print(f"{plan.name}: goes on at step {first} of {plan.steps}", flush=True)

    def save(step: int) -> None:
        state = {"network": network.state_dict(), "optimizers": [each.state_dict() for each in optimizers]}
        save_atomically(state | {"average": average, "step": step}, path)

    saved = logged = time.monotonic()
    losses: list[Tensor] = []
    threads = ThreadChoice(torch.get_num_threads())
    for step in range(first, plan.steps):
        threads.at_step(step)
        loss = loss_of_step(step)
        network.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = plan.rate_at(step)
            optimizer.step()
        losses.append(loss.detach())
        if average:
            _update(average, network, min(plan.ema, (1 + step) / (10 + step)))
        if (step + 1) % LOG_STEPS == 0:
            now = time.monotonic()
            mean = torch.stack(losses).mean().item()
            print(
                f"{plan.name} {step + 1}/{plan.steps} loss {mean:.4f} {(now - logged) / LOG_STEPS:.3f} s/step",
                flush=True,
            )
            losses, logged = [], now
        if time.monotonic() - saved > SAVE_SECONDS:
            save(step + 1)
            saved = time.monotonic()
    if first < plan.steps:
        save(plan.steps)
    if average:
        network.load_state_dict(average)


def _optimizers(plan: Plan, network: nn.Module) -> list[torch.optim.Optimizer]:
    def inside(name: str, parameter: nn.Parameter) -> bool:
        return parameter.ndim >= 2 and not any(part in name for part in ("embed", "conv_in", "conv_out"))

    named = [(plan.muon and inside(name, p), p) for name, p in network.named_parameters() if p.requires_grad]
    rest = [p for is_inside, p in named if not is_inside]
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=plan.rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    ]
    return [*found, Muon([p for is_inside, p in named if is_inside], lr=plan.rate)] if plan.muon else found


def load_average(plan: Plan, network: nn.Module, folder: Path) -> int:
    """Put the averaged weights of the last checkpoint into ``network``; return its step."""
    state = torch.load(folder / f"{plan.name}.pt", weights_only=True)
    network.load_state_dict(state["average"])
    return int(state["step"])


@torch.no_grad()
def _update(average: dict[str, Tensor], network: nn.Module, decay: float) -> None:
    for key, value in network.state_dict().items():
        if value.is_floating_point():
            average[key].lerp_(value, 1 - decay)
        else:
            average[key].copy_(value)
