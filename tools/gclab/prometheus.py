# SPDX-License-Identifier: GPL-2.0-or-later
"""What gcctl --metrics-file writes, as Prometheus' own library reads it."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def metrics(path: Path) -> Samples:
    """Every sample of a file, by its name and labels."""
    samples: Samples = {}
    for family in text_string_to_metric_families(path.read_text()):  # type: ignore[no-untyped-call]
        assert family.documentation and family.type != "unknown", family.name
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in samples, key
            samples[key] = sample.value
    return samples


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]
