# SPDX-License-Identifier: GPL-2.0-or-later
"""What the lab, the demo, the tests and the benchmarks share: QEMUs, gcctl runs, networks, load, and the lab itself."""
