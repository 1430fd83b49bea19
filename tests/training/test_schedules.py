"""The learning rate over the steps of a run."""

import itertools

import pytest
import torch

from hanline.training.schedulers import constant, one_cycle, step_decay, warmup_cosine

LR = 0.4


def rates(schedule, steps, **numbers):
    """The learning rate of every step of a run, and the one after it."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=LR)
    scheduler = schedule(optimizer, steps, **numbers)
    seen = []
    for _ in range(steps + 1):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_constant_stays():
    assert rates(constant, 20) == [LR] * 21


def test_warmup_rises_in_a_line_and_falls_along_half_a_cosine():
    seen = rates(warmup_cosine, 110, warmup_steps=10, final_factor=0.1)
    assert seen[:10] == pytest.approx([LR * (step + 1) / 10 for step in range(10)])
    assert seen[10] == pytest.approx(LR)
    # In the middle of the fall, half of what falls has fallen.
    assert seen[60] == pytest.approx(LR * (1 + 0.1) / 2)
    assert seen[35] - seen[10] == pytest.approx(seen[110] - seen[85])
    assert seen[110] == pytest.approx(0.1 * LR)
    assert all(before > after for before, after in itertools.pairwise(seen[10:]))


def test_a_short_run_warms_up_for_half_of_it_at_most():
    seen = rates(warmup_cosine, 10, warmup_steps=500, final_factor=0.0)
    assert max(seen) == pytest.approx(LR)
    assert seen.index(max(seen)) in (4, 5)
    assert seen[10] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("warmup_steps", [0, 1, 100])
def test_the_shortest_runs_have_a_rate(steps, warmup_steps):
    seen = rates(warmup_cosine, steps, warmup_steps=warmup_steps, final_factor=0.01)
    assert seen[0] == pytest.approx(LR)
    assert all(0 < rate <= LR + 1e-12 for rate in seen)


def test_past_its_end_a_run_keeps_the_last_rate():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=LR)
    scheduler = warmup_cosine(optimizer, 10, warmup_steps=2, final_factor=0.2)
    for _ in range(25):
        optimizer.step()
        scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx([0.2 * LR])


@pytest.mark.parametrize("steps, rise", [(100, 0.3), (101, 0.075), (7, 0.5)])
def test_one_cycle_is_torchs(steps, rise):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=LR)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LR, steps, pct_start=rise, cycle_momentum=False
    )
    expected = []
    for step in range(steps):
        expected.append(theirs.get_last_lr()[0])
        optimizer.step()
        if step < steps - 1:
            theirs.step()
    ours = rates(one_cycle, steps, rise=rise, first_factor=0.04, final_factor=0.04e-4)
    assert ours[:steps] == pytest.approx(expected)
    # Past the end, where torch's raises an error, the last one stays.
    assert ours[steps] == pytest.approx(expected[-1])


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_cycles_have_a_rate(steps):
    seen = rates(one_cycle, steps, rise=0.3, first_factor=0.04, final_factor=0.01)
    assert all(0 < rate <= LR + 1e-12 for rate in seen)


def test_step_decay_falls_every_so_many_steps():
    seen = rates(step_decay, 9, every=3, factor=0.5)
    assert seen == pytest.approx([LR] * 3 + [LR / 2] * 3 + [LR / 4] * 3 + [LR / 8])


@pytest.mark.parametrize(
    "schedule, numbers",
    [
        (constant, {}),
        (warmup_cosine, {"warmup_steps": 5, "final_factor": 0.1}),
        (step_decay, {"every": 4, "factor": 0.3}),
        (one_cycle, {"rise": 0.3, "first_factor": 0.04, "final_factor": 0.01}),
    ],
)
def test_a_resumed_schedule_goes_on_where_it_was(schedule, numbers):
    def made():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=LR)
        return optimizer, schedule(optimizer, 20, **numbers)

    optimizer, scheduler = made()
    for _ in range(7):
        optimizer.step()
        scheduler.step()
    other_optimizer, other = made()
    other.load_state_dict(scheduler.state_dict())
    other_optimizer.load_state_dict(optimizer.state_dict())
    for _ in range(13):
        for one in (optimizer, other_optimizer):
            one.step()
        scheduler.step()
        other.step()
        assert other.get_last_lr() == scheduler.get_last_lr()
