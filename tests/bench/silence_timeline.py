# SPDX-License-Identifier: GPL-2.0-or-later
"""The chart of `make bench-silence`: each sender's rate, and the requests' durations, over the time of a run."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot

from gclab.sampler import Samples

mpl.use("svg")

MBIT = 1e6
CLASS_COLORS = ("#c0392b", "#e08e0b", "#8e6bbf", "#4a7fb5", "#5d6d7e")  # in the order of the policy's classes


def rates(samples: Samples) -> list[float]:
    """Mbit/s between each two samples of bytes."""
    return [(now - was) * 8 / MBIT / (when - before) for (before, was), (when, now) in zip(samples, samples[1:], strict=False)]


def draw_classes(axis: Any, one: Any) -> None:
    at = [when - one.begin for when, _ in one.classes[1:]]
    below = [0.0] * len(at)
    names = [name for name in one.classes[0][1] if name != "tenants"] if one.classes else []
    for name, color in zip(names, CLASS_COLORS, strict=False):
        sent = rates([(when, counts[name]) for when, counts in one.classes])
        top = [low + rate for low, rate in zip(below, sent, strict=True)]
        axis.fill_between(at, below, top, step="pre", color=color, label=f"migration: {name}")
        below = top


def draw_requests(axis: Any, one: Any) -> None:
    axis.plot([when - one.begin for when, _ in one.requests], [1000 * took for _, took in one.requests], ".", color="#7b241c",
              markersize=2)
    axis.set_yscale("log")
    axis.set_ylim(0.1, 3000)
    axis.set_ylabel("request, ms", color="#7b241c")


def draw(runs: dict[str, Any], link_mbit: float, path: Path) -> None:
    """`runs`: a Run of silence.py for each mode."""
    figure, axes = pyplot.subplots(len(runs), 1, figsize=(11, 2.1 * len(runs)), sharex=True, sharey=True, layout="constrained")
    for axis, (mode, one) in zip(axes, runs.items(), strict=True):
        axis.fill_between([when - one.begin for when, _ in one.sent[1:]], rates(one.sent), step="pre", color="#dfe6ee",
                          label="the NIC, total")
        draw_classes(axis, one)
        axis.step([when - one.begin for when, _ in one.stream], [rate * 8 / MBIT for _, rate in one.stream], where="pre",
                  color="#1f6f43", linewidth=1.3, label="tenant's stream")
        axis.axhline(link_mbit, color="grey", linewidth=0.6, linestyle=":")
        axis.axvspan(0, one.end - one.begin, ymin=0.97, ymax=1, color="#34495e")
        axis.axvline(one.switch_over - one.begin, color="#34495e", linewidth=0.8)
        axis.set_title(mode, loc="left", fontsize=10)
        axis.set_ylabel("Mbit/s")
        axis.set_ylim(0, 1.3 * link_mbit)
        draw_requests(axis.twinx(), one)
    axes[-1].legend(loc="upper right", fontsize=8)
    axes[-1].set_xlabel("seconds since the migration began (dark bar; vertical line: switch-over)")
    figure.savefig(path)
