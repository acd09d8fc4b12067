# SPDX-License-Identifier: GPL-2.0-or-later
"""Results in the formats that gcctl and the benchmarks write. They are the same each time, also where they look random."""

import math
from typing import Any

Json = dict[str, Any]
MIB = 2**20
PAGE_CLASSES = ("precopy", "urgent", "guide", "warm", "background")


def classes(**counts: int) -> Json:
    named = {name: counts.get(name, 0) for name in PAGE_CLASSES}
    return {"total": sum(named.values()), **named, "zero": counts.get("zero", 0)}


def traffic(packets: int) -> Json:
    return {"packets": packets, "bytes": packets * 1400, "drops": 0, "delayed": packets // 3, "delay_ms": packets * 0.7,
            "delay_max_ms": 11.5}


def stalls(scale: int) -> list[int]:
    return [round(scale * 40 * math.exp(-((i - 9) ** 2) / 6)) for i in range(24)]


def storm(scale: float, steps: int) -> list[int]:
    return [round(scale * math.exp(-i / 9) * (1.2 + math.sin(i))) for i in range(steps)]


def migration() -> Json:
    histogram = stalls(6)
    return {
        "schema": "guidecopy.report/1", "result": "completed", "error": "", "mode": "guide", "capture": "kmod",
        "downtime_ms": 41.7, "total_ms": 18431.2,
        "pages": classes(precopy=2048, urgent=731, guide=20113, warm=1500, background=238000, zero=90112),
        "bytes": classes(precopy=8 * MIB, urgent=3 * MIB, guide=79 * MIB, warm=6 * MIB, background=581 * MIB, zero=1 * MIB),
        "demand": {"faults": sum(histogram), "stall_ms": 912.25, "p50_us": 1024, "p99_us": 8192, "p999_us": 32768,
                   "histogram_us": histogram, "timeline": {"step_ms": 10, "counts": storm(25, 90)}, "local": 57, "local_ms": 4.5},
        "zeros": {"pages": 80000, "runs": 41},
        "compress": {"mode": "auto", "reason": "", "bytes": 940 * MIB, "sent": 300 * MIB, "cpu_ms": 2200.5},
        "guide": {"started": True, "load_ms": 3.4, "waited_ms": 0.8, "records": 20200, "pushed": 20113, "dropped": 0,
                  "blocked_ms": 12.5,
                  "memory_bytes": 96 * MIB, "ended": "complete", "reason": "",
                  "sent": {"packets": 17, "bytes": 1822, "arp": 2, "ipv4": 15, "ipv6": 0, "other": 0, "dropped_by": "ebpf"},
                  "mirror": {"on": True, "reason": "NIC 'b': its back end is 'user', not a tap", "nics": 1, "packets": 4321,
                             "bytes": 7 * MIB, "again": 3, "dropped": 5, "connections": 60, "in_step": 59, "dead": 1}},
        "forward": {"on": True, "reason": "NIC 'c': it has no back end", "nics": 1, "packets": 765, "bytes": 98304, "dropped": 3,
                    "delivered": 764, "refused": 1},
        "next": {"pages": 16, "sent": 321},
        "hot": {"from": "vm.trace", "pages": 4000, "reason": ""},
        "policy": {"name": "silent", "device": "eth0", "object": "my.bpf.o", "joined": False, "reason": "",
                   "classes": {name: traffic(count) for name, count in
                               (("background", 410000), ("guide", 56000), ("urgent", 2100), ("warm", 4300))},
                   "tenants": traffic(900000)},
        "measured": {"time_ms": 30000.0, "touched": classes(urgent=700, guide=18000, background=900), "asked": 731,
                     "coverage": 0.962, "accuracy": 0.895, "waste_bytes": 8 * MIB, "unresolved": 0},
        "qemu": {"source": "7.2.22", "destination": "7.2.22"}, "kernel": "6.1.0-49-amd64",
    }


def simulated() -> Json:
    """A migration from gcctl simulate."""
    return migration() | {"measured": None, "simulated": {
        "trace": "vm.trace", "trace_ms": 2500.0, "link": 1_250_000_000, "rtt_us": 50.0, "vms": 3, "vcpus": 6,
        "memory_bytes": 8192 * MIB, "touched": 1234, "waited_ms": 12.5}}


MODES = ["QEMU post-copy", "QEMU pre-copy", "QEMU post-copy preempt", "gcctl post-copy", "gcctl guide", "gcctl hybrid"]
REFERENCE = MODES[0]


def row(workload: str, mode: str, metric: str, unit: str, median: float, ratio: float | None) -> Json:
    return {"workload": workload, "mode": mode, "metric": metric, "unit": unit, "median": median, "min": 0.9 * median,
            "max": 1.15 * median, "n": 3, "ratio": ratio}


METRICS = [("throughput", "1/s", 1250.0), ("downtime", "ms", 38.4), ("migration", "s", 18.2), ("recovery", "s", 4.1),
           ("stalled", "ms", 812.5), ("sent", "MiB", 677.0)]


def speed(index: int, noise: int) -> list[float]:
    """Per 100 ms: steady, a dip, and back."""
    depth, width = 0.25 + 0.12 * index, 20 / (index + 1)
    return [1000 * (1 - (i >= 20) * (1 - depth) * math.exp(-(i - 20) / width)) * (1 + 0.02 * math.sin(7 * i + noise))
            for i in range(80)]


def run(workload: str, index: int, number: int) -> Json:
    has_report = index >= 3  # gcctl's
    return {"workload": workload, "mode": MODES[index], "round": number, "error": "",
            "throughput": {"step_ms": 100, "from_ms": -2000.0 - 10 * number, "per_s": speed(index, number)},
            "faults": {"step_ms": 20, "counts": storm(90 / index**2, 150 + 10 * number)} if has_report else None,
            "stall_us": stalls(1 + 2 * (5 - index)) if has_report else None,
            "bytes": {"urgent": 4 * MIB // index, "guide": 60 * MIB * (index > 3), "warm": 5 * MIB * (index > 4),
                      "background": 300 * MIB,
                      "precopy": 200 * MIB * (index == 5)} if has_report else None}


def benchmark() -> Json:
    workloads = ["pointer chase", "redis"]
    runs = [run(workload, index, number)
            for workload in workloads for index in range(len(MODES)) for number in range(1, 4)]
    runs.append({"workload": "redis", "mode": MODES[1], "round": 4, "error": "did not converge within 120 s"})
    return {
        "schema": "guidecopy.bench/1", "bench": "migration", "reference": REFERENCE,
        "machine": {"cpu": "QEMU Virtual CPU version 2.5+", "kernel": "6.1.0-49-amd64", "qemu": "7.2.22", "virtual": True},
        "link_mbit": 40,
        "rows": [row(workload, mode, metric, unit, value / (1 + 0.2 * i), 1 / (1 + 0.2 * i)) for workload in workloads
                 for i, mode in enumerate(MODES) for metric, unit, value in METRICS],
        "runs": runs,
    }


def rows_only() -> Json:
    """As tests/bench/silence.py writes it: without schema and runs, and without some metrics of some modes."""
    modes = ["no migration", "QEMU post-copy", "gcctl silent"]
    rows = [row("beside a stream", mode, "tenant throughput", "Mbit/s", 34.0 - 5 * i, 1 - 0.15 * i)
            for i, mode in enumerate(modes)]
    rows.append(row("beside a stream", "gcctl silent", "demand faults", "", 23.0, None))
    return {"bench": "silence", "reference": "no migration", "link_mbit": 40,
            "machine": {"cpu": "a CPU", "kernel": "6.1.0-49-amd64", "virtual": False}, "rows": rows}
