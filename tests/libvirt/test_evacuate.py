# SPDX-License-Identifier: GPL-2.0-or-later
"""A host's VMs move to another one, whatever becomes of some of them."""

import json
import re
import signal
import time
from typing import Any

import pytest
from gclab.environment import SLOW
from gclab.gcctl import EXIT_CANCELLED, EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, EXIT_USAGE, Gcctl, run
from gclab.libvirt_hosts import LibvirtHosts, LibvirtVm
from gclab.prometheus import metrics, value
from gclab.wait import wait_for


def events(gcctl: Gcctl, name: str) -> list[dict[str, Any]]:
    return [event for event in gcctl.events() if event["event"] == name]


def results(gcctl: Gcctl) -> dict[str, str]:
    """How each VM fared, by its name."""
    return {vm["domain"]: vm["result"] for vm in gcctl.wait_event("done", 5)["vms"]}


def check_moved(hosts: LibvirtHosts, vm: LibvirtVm) -> None:
    assert hosts.a.state(vm.name) in ("", "shut off (migrated)")
    there = vm.at(hosts.b)
    there.wait_running(passes=1)
    vm.check()
    there.check()


def check_stayed(hosts: LibvirtHosts, vm: LibvirtVm) -> None:
    assert hosts.a.state(vm.name).startswith("running (") and not hosts.a.has_job(vm.name)
    vm.wait_running(passes=1)
    vm.check()


def end(receive: Gcctl) -> None:
    receive.signal(signal.SIGTERM)
    assert receive.wait(10) == EXIT_DONE, receive.errors()


def test_ten_vms_of_which_one_is_refused(hosts: LibvirtHosts) -> None:
    """Two at a time, each with its half of the budget, and a port of its own."""
    vms = hosts.start_idle(10)
    refused, others = vms[4], vms[:4] + vms[5:]
    other = hosts.directory / "other.xml"
    other.write_text(re.sub("<uuid>.*</uuid>", "", (hosts.directory / f"{refused.name}.xml").read_text()))
    hosts.b.virsh_ok("define", str(other))
    here, there, report = (hosts.directory / name for name in ("here.prom", "there.prom", "evacuation.json"))

    receives = [hosts.receive("--keep", "--metrics-file", str(there)) for _ in range(2)]
    to = ",".join(to for _, to in receives)
    evacuate = hosts.evacuate(to, "--parallel", "2", "--budget", "64M", "--metrics-file", str(here), "--report", str(report),
                              "--reports", str(hosts.directory / "reports"))
    assert evacuate.wait(120) == EXIT_FAILED, evacuate.errors()
    assert results(evacuate) == {vm.name: "refused" if vm is refused else "moved" for vm in vms}
    assert re.search(rf"^{refused.name}: .*already exists", evacuate.errors(), re.M), evacuate.errors()
    order = [event["event"] for event in evacuate.events() if event["event"] in ("moving", "ended")]
    running = [sum(1 if event == "moving" else -1 for event in order[:end]) for end in range(1, len(order) + 1)]
    assert order[:2] == ["moving", "moving"] and max(running) == 2, order
    moving = events(evacuate, "moving")
    assert all(event["bandwidth"] == 32 << 20 for event in moving[:9]), moving
    assert {event["to"] for event in moving} == set(to.split(","))
    for vm in others:
        check_moved(hosts, vm)
    check_stayed(hosts, refused)

    written = json.loads(report.read_text())
    assert written["exit_status"] == EXIT_FAILED and written["counts"]["moved"] == 9
    assert all(json.loads((hosts.directory / "reports" / f"{vm.name}.json").read_text())["result"] == "completed" for vm in others)
    assert written["sent_bytes"] == sum(vm["sent_bytes"] for vm in written["vms"]) > 0
    samples = metrics(here)
    assert value(samples, "guidecopy_migrations_total", role="source", result="completed") == 9
    assert value(samples, "guidecopy_migrations_total", role="source", result="refused") == 1
    assert value(samples, "guidecopy_migration_downtime_seconds_count") == 9
    assert value(samples, "guidecopy_evacuation_vms", state="moved") == 9
    assert value(samples, "guidecopy_evacuation_vms", state="refused") == 1
    assert value(samples, "guidecopy_evacuation_remaining_bytes") == 48 << 20
    assert value(samples, "guidecopy_evacuations_total", result="failed") == 1
    assert value(samples, "guidecopy_evacuation_end_timestamp_seconds") > 0
    assert value(metrics(there), "guidecopy_migrations_total", role="destination", result="completed") == 9

    # What stood in the way is gone; the same command continues.
    hosts.b.virsh_ok("undefine", refused.name)
    again = hosts.evacuate(to, "--metrics-file", str(here))
    assert again.wait() == EXIT_DONE, again.errors()
    assert results(again) == {refused.name: "moved"}
    check_moved(hosts, refused)
    assert value(metrics(here), "guidecopy_migrations_total", role="source", result="completed") == 10
    nothing = hosts.evacuate(to)
    assert nothing.wait() == EXIT_DONE and not results(nothing)
    for receive, _ in receives:
        end(receive)


def test_interrupted_and_continued(hosts: LibvirtHosts) -> None:
    """The VM that is on its way arrives; the other one waits for the same command."""
    first, second = hosts.start_idle(2)
    receive, to = hosts.receive("--keep")
    names = f"{first.name},{second.name}"
    evacuate = hosts.evacuate(to, "--domains", names, "--order", "given", "--parallel", "2", "--budget", "64M")
    # There is one port, so nobody else will have a share.
    assert evacuate.wait_event("moving")["bandwidth"] == 64 << 20
    evacuate.signal(signal.SIGINT)
    assert evacuate.wait() == EXIT_CANCELLED, evacuate.errors()
    assert results(evacuate) == {first.name: "moved", second.name: "waiting"}
    check_moved(hosts, first)
    check_stayed(hosts, second)
    again = hosts.evacuate(to, "--domains", names)
    assert again.wait() == EXIT_DONE, again.errors()
    assert again.wait_event("plan")["moved_before"] == [first.name]
    assert results(again) == {second.name: "moved"}
    check_moved(hosts, second)
    end(receive)


def test_interrupted_twice(hosts: LibvirtHosts) -> None:
    """The VM that is on its way, and not handed over, stays; the destination takes the next one."""
    vm = hosts.start()
    receive, to = hosts.receive("--keep")
    evacuate = hosts.evacuate(to, "--precopy-time", "600s", "--budget", "8M")
    assert evacuate.wait_event("started")["domain"] == vm.name
    evacuate.signal(signal.SIGINT)
    wait_for("the first signal is seen", lambda: "interrupted" in evacuate.errors(), 10 * SLOW)
    time.sleep(0.5)
    assert evacuate.process.poll() is None
    evacuate.signal(signal.SIGINT)
    assert evacuate.wait() == EXIT_CANCELLED, evacuate.errors()
    assert results(evacuate) == {vm.name: "cancelled"}
    check_stayed(hosts, vm)
    again = hosts.evacuate_as_text(to)
    assert again.returncode == EXIT_DONE, again.stderr
    assert re.search(rf"^1 of 1: {vm.name} to .*^{vm.name} moved in .*^1 of 1 VMs moved", again.stdout, re.M | re.S), again.stdout
    assert f"{vm.name}: warning: --insecure: " in again.stderr
    assert hosts.b.state(vm.name).startswith("running (")
    end(receive)


def test_plan_touches_nothing(hosts: LibvirtHosts) -> None:
    """Not even a gcctl at the destination is needed for it."""
    first, paused = hosts.start(running=False), hosts.start(running=False)
    urgent = hosts.start(running=False, cpu="<cpu mode='maximum' check='none'/>")
    hosts.a.virsh_ok("suspend", paused.name)
    hosts.a.virsh_ok("metadata", urgent.name, "--live", "--uri", "urn:guidecopy:evacuate", "--key", "gc", "--set",
                     "<evacuate priority='5'/>")
    evacuate = hosts.evacuate("hostb:4444", "--dry-run")
    assert evacuate.wait() == EXIT_REFUSED, evacuate.errors()
    plan = evacuate.wait_event("plan", 1)
    assert [(move["domain"], move["priority"]) for move in plan["moves"]] == [(urgent.name, 5), (first.name, 0)]
    assert all(move["memory_bytes"] == hosts.RAM_MIB << 20 and move["host"] == "hostb" for move in plan["moves"])
    (kept,) = plan["kept"]
    assert kept["domain"] == paused.name and "resume it first" in kept["reason"], kept
    assert not events(evacuate, "moving") and "was not compared" not in evacuate.errors()
    assert hosts.a.state(first.name).startswith("running (") and hosts.b.virsh_ok("list", "--all", "--name") == ""
    everything = hosts.evacuate("hostb:4444", "--dry-run", "--domains", f"{first.name},{urgent.name}")
    assert everything.wait() == EXIT_DONE, everything.errors()
    unknown = hosts.evacuate("hostb:4444", "--dry-run", "--domains", f"{first.name},nosuchvm")
    assert unknown.wait() == EXIT_REFUSED and "'nosuchvm' runs neither here" in unknown.errors()


@pytest.mark.parametrize("options,reason", [
    (("--to", "a:1,b:2", "--destination-uri", "x"), "expected as many as --to"),
    (("--to", "a:1,a:1"), "twice"),
    (("--to", "a:1", "--guide", "maybe"), "--guide"),
    (("--to", "a:1", "--parallel", "0"), "--parallel"),
])
def test_wrong_options(options: tuple[str, ...], reason: str) -> None:
    done = run("evacuate", "--connect", "qemu:///system", *options)
    assert done.returncode == EXIT_USAGE and reason in done.stderr, done.stderr
