# SPDX-License-Identifier: GPL-2.0-or-later
"""One small migration, with one fault at one moment."""

import json
import random
import threading
import time
import traceback
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from faults import FAULTS, Missed, Scene, full_disk
from gclab.environment import SLOW
from gclab.gcctl import EXIT_DONE
from gclab.network import links, namespaces
from gclab.processes import children
from gclab.testbed import Testbed, in_clear
from gclab.vm import Spec
from gclab.wait import Deadline
from outcome import Outcome, judge
from rescue import NoCommand, rescue
from wire import Wire

# 24 MiB of 40 wait for post-copy at this bandwidth for 2 s.
SPEC = Spec(ram_mib=96, append="mode=check size=40M tick=64", meter=True)
BANDWIDTH = "12M"
PRECOPY = ("--precopy-time", "1500ms")
# A guest that writes little: QEMU 7.2 under TCG loses writes during pre-copy, gcctl or not (docs/internals/faults.md).
PRECOPY_SPEC = SPEC.but(append="mode=chase size=40M tick=64")
RECONNECT_LIMIT = ("--reconnect-limit", "10s")
POLL = 0.005  # seconds: the resolution of `halt`


class Phase(Enum):
    BEGIN = "begin"
    PRECOPY = "precopy"
    SWITCH_OVER = "switch-over"
    COMMIT = "commit"
    POSTCOPY = "postcopy"


# The event of gcctl migrate after which a fault comes, and how long after it at most, in seconds.
MOMENTS: dict[Phase, tuple[str | None, float]] = {
    Phase.BEGIN: (None, 0.06),
    Phase.PRECOPY: ("started", 1.3),
    Phase.SWITCH_OVER: ("started", 0.1),
    Phase.COMMIT: ("switch-over", 0.02),
    Phase.POSTCOPY: ("resumed", 2.5),
}


@dataclass
class Result:
    fault: str
    phase: str
    guide: str
    seed: int
    outcome: str = ""
    reached: str = ""  # the last milestone of gcctl migrate before the fault
    statuses: dict[str, int | None] = field(default_factory=dict)
    ends: dict[str, float] = field(default_factory=dict)  # seconds from the fault to a process's end
    halt: float = 0  # the longest time in which the guest did nothing, in seconds
    source: dict[str, Any] = field(default_factory=dict)
    destination: dict[str, Any] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)  # what nobody has removed
    messages: dict[str, str] = field(default_factory=dict)
    wire: dict[str, int] = field(default_factory=dict)
    typed: list[str] = field(default_factory=list)  # to finish a stranded migration
    rescue: float = 0  # seconds that took
    took: float = 0
    problem: str = ""  # of the driver


class Trial:
    """Sets up, injects, watches and judges. Everything is ended and removed afterwards."""

    def __init__(self, fault: str, phase: Phase, guide: str, seed: int, wait: float) -> None:
        self.fault = FAULTS[fault]
        self.phase = phase
        self.wait = wait
        self.result = Result(fault, phase.value, guide, seed)
        self.random = random.Random(f"{fault} {phase.value} {seed}")

    def run(self) -> Result:
        begin = time.monotonic()
        links_before, namespaces_before = links(), namespaces()
        try:
            with ExitStack() as stack:
                self._run(stack)
        except Missed as missed:
            self.result.outcome, self.result.problem = Outcome.MISSED.value, str(missed)
        except Exception:  # of the driver: the sweep goes on
            self.result.problem = traceback.format_exc()[-1000:]
        self.result.left += [f"link {link}" for link in links() if link not in links_before]
        self.result.left += [f"namespace {name}" for name in namespaces() - namespaces_before]
        self.result.took = round(time.monotonic() - begin, 1)
        return self.result

    def _run(self, stack: ExitStack) -> None:
        wire = Wire(self.result.seed)
        stack.callback(wire.close)
        testbed = Testbed()
        stack.callback(self._close, testbed)
        scene, report = self._start(wire, testbed, stack)
        if not self._await_moment(scene):
            assert scene.migrate.process.poll() == EXIT_DONE, scene.migrate.errors()
            raise Missed("the migration had ended")
        self._inject_and_watch(scene)
        self.result.wire = wire.counts()
        self._judge(scene)
        self._rescue(scene, testbed)
        self._look_for_left(scene, testbed)
        self.result.messages = {gcctl.command: gcctl.errors()[-400:].strip() for gcctl in (scene.migrate, scene.receive)}
        with suppress(OSError, ValueError, KeyError):
            self.result.messages["report"] = json.loads(report.read_text())["result"]

    def _start(self, wire: Wire, testbed: Testbed, stack: ExitStack) -> tuple[Scene, Path]:
        spec = PRECOPY_SPEC if self.phase is Phase.PRECOPY else SPEC
        source = testbed.start_source(spec)
        source.make_vcpus_nice()
        destination = testbed.start(spec, "destination", incoming=True)
        receive = testbed.receive(destination.gcctl_qmp(), wire.far_address, *RECONNECT_LIMIT, launcher=wire.far.launcher)
        port = receive.wait_event("listening")["port"]
        directory = testbed.new_directory("migration")
        reports = stack.enter_context(full_disk(directory / "full")) if self.fault.small_disk else directory
        report = reports / "report.json"
        self.fault.begin(wire)
        options = PRECOPY if self.phase is Phase.PRECOPY else ()
        migrate = testbed.gcctl("migrate", "--qmp", source.gcctl_qmp(), "--to", f"{wire.far_address}:{port}", "--report",
                                str(report), "--guide", self.result.guide, "--policy", "none", "--bandwidth", BANDWIDTH, *RECONNECT_LIMIT, *options,
                                *in_clear(wire.far_address), directory=directory, launcher=wire.near.launcher)
        return Scene(wire, source, destination, receive, migrate, self.random), report

    def _await_moment(self, scene: Scene) -> bool:
        event, spread = MOMENTS[self.phase]
        deadline = Deadline(60)
        while event and not scene.migrate.event(event):
            if scene.migrate.process.poll() is not None or deadline.passed():
                return False
            time.sleep(0.001)
        time.sleep(self.random.uniform(0, spread))
        seen = [event["event"] for event in scene.migrate.events() if event["event"] != "progress"]
        self.result.reached = seen[-1] if seen else "nothing"
        return scene.migrate.process.poll() is None

    def _inject_and_watch(self, scene: Scene) -> None:
        """Until both gcctls have ended and the fault is over."""
        missed: list[Missed] = []

        def inject() -> None:
            try:
                self.fault.inject(scene)
            except Missed as error:
                missed.append(error)

        begin = time.monotonic()
        thread = threading.Thread(target=inject)
        thread.start()
        processes = scene.processes()
        progress, changed = -1, begin
        ends = self.result.ends
        while time.monotonic() < begin + self.wait and not (thread.ident and not thread.is_alive() and
                                                            {"migrate", "receive"} <= ends.keys()):
            now = time.monotonic()
            for name, process in processes.items():
                if name not in ends and process.poll() is not None:
                    ends[name] = round(now - begin, 2)
            metered = scene.source.metered() + scene.destination.metered()
            if metered != progress:
                progress, changed = metered, now
            self.result.halt = max(self.result.halt, round(now - changed, 2))
            time.sleep(POLL)
        thread.join()
        if missed:
            raise missed[0]

    def _judge(self, scene: Scene) -> None:
        self.result.statuses = {gcctl.command: gcctl.process.poll() for gcctl in (scene.migrate, scene.receive)}
        time.sleep(1)  # a guardian acts within 0.5 s
        outcome, source, destination = judge(scene.source, scene.destination, self.result.statuses, passes_within=20 * SLOW)
        self.result.outcome = outcome.value
        self.result.source, self.result.destination = asdict(source), asdict(destination)

    def _rescue(self, scene: Scene, testbed: Testbed) -> None:
        """What the faults have stranded has to be finished by what gcctl itself says."""
        # A destination QEMU that ended before the commit is no loss: the source's VM can be taken back.
        if self.result.outcome not in (Outcome.STRANDED.value, Outcome.HUNG.value, Outcome.LOST.value):
            return
        scene.wire.do("up")
        begin = time.monotonic()
        try:
            self.result.typed = rescue(scene, testbed)
        except (NoCommand, AssertionError) as error:
            if self.result.outcome != Outcome.LOST.value:
                self.result.problem = f"not rescued: {error}"
            return
        self.result.rescue = round(time.monotonic() - begin, 2)
        done: dict[str, int | None] = {gcctl.command: EXIT_DONE for gcctl in (scene.migrate, scene.receive)}
        outcome, source, destination = judge(scene.source, scene.destination, done, passes_within=20 * SLOW)
        if outcome in (Outcome.COMPLETED, Outcome.ROLLED_BACK):
            outcome = Outcome.RECOVERED
        self.result.outcome = outcome.value
        self.result.source, self.result.destination = asdict(source), asdict(destination)

    def _look_for_left(self, scene: Scene, testbed: Testbed) -> None:
        living = [process.pid for process in scene.processes().values() if process.poll() is None]
        known = {*living, *(child for pid in living for child in children(pid))}  # with their guardians
        self.result.left += [f"process {command[:80]}" for pid, command in testbed.processes().items() if pid not in known]
        self.result.left += [f"file {path}" for path in testbed.temporary_files()]

    def _close(self, testbed: Testbed) -> None:
        """A process that outlives its parent ends when that does, but not at once."""
        try:
            testbed.close()
        except AssertionError as error:
            self.result.left.append(f"after the end: {error}"[:300])
