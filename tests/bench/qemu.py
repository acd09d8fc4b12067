# SPDX-License-Identifier: GPL-2.0-or-later
"""What the QEMU at hand is and can do."""

import json
import subprocess

QEMU = "qemu-system-x86_64"
PATIENCE = 60  # seconds


def version() -> str:
    said = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True, timeout=PATIENCE).stdout
    return said.splitlines()[0].removeprefix("QEMU emulator version ")


def migration_capabilities() -> set[str]:
    asked = [{"execute": name} for name in ("qmp_capabilities", "query-migrate-capabilities", "quit")]
    said = subprocess.run([QEMU, "-machine", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"],
                          input="\n".join(map(json.dumps, asked)), capture_output=True, text=True, check=True,
                          timeout=PATIENCE).stdout
    answers = [json.loads(line).get("return") for line in said.splitlines()]
    return {one["capability"] for answer in answers if isinstance(answer, list) for one in answer}
