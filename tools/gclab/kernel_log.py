# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds trouble in a kernel's log."""

import re

# A line that matches fails a run.
TROUBLE = re.compile(
    r"WARNING: |BUG: |\bBUG\b at|Oops|Call Trace|KASAN|KCSAN|KFENCE|UBSAN|kernel BUG|Kernel panic|"
    r"general protection fault|possible (circular|recursive) locking|suspicious RCU usage|"
    r"INFO: (task .* blocked for|possible|trying to register|rcu|suspicious)|rcu.*(stall|starved)|(soft|hard) ?lockup|"
    r"refcount_t: |list_(add|del) corruption|unreferenced object|DEBUG_LOCKS_WARN|ODEBUG|bad page|Bad page|"
    r"sleeping function called|scheduling while atomic|Out of memory|oom-kill")
# Lines that match TROUBLE and are known not to be ours, each with its reason.
ALLOWED: list[re.Pattern[str]] = []


def trouble(lines: list[str]) -> list[int]:
    """The indices of the lines that show trouble."""
    return [i for i, line in enumerate(lines)
            if TROUBLE.search(line) and not any(allowed.search(line) for allowed in ALLOWED)]
