# SPDX-License-Identifier: GPL-2.0-or-later
"""gcctl policy attach, show, set and detach; nothing is left behind."""

import json
import signal

from conftest import TIMEOUT, PolicyNamespace, pins
from gclab.environment import GCCTL


def test_attach_show_set_detach(ns: PolicyNamespace) -> None:
    before = ns.qdiscs("nic")
    ns.policy("attach", "--dev", "nic", "--link", "1gbit")
    assert [(q["kind"], q["options"]["flow_limit"]) for q in ns.egress_qdiscs("nic")] == [("fq", 1000)]
    ns.ping(3)
    shown = ns.show("nic")
    assert shown["policy"] == "silent" and shown["in_place"] and shown["lasting"]
    assert shown["link"] == 125_000_000
    assert shown["classes"]["tenants"]["packets"] >= 3
    assert shown["classes"]["urgent"]["packets"] == 0

    ns.policy("set", "--dev", "nic", "use=50%")
    changed = ns.show("nic")
    assert changed["target"] == 62_500_000
    assert changed["classes"]["tenants"]["packets"] >= shown["classes"]["tenants"]["packets"], "set must not reset the counters"
    ns.policy("set", "--dev", "nic", "--policy", "fast", "--link", "100mbit")
    assert ns.show("nic")["policy"] == "fast" and ns.show("nic")["link"] == 12_500_000

    ns.policy("detach", "--dev", "nic")
    assert ns.qdiscs("nic") == before
    assert ns.filters("nic") == "" and pins() == []


def test_marked_packets_are_counted_by_class(ns: PolicyNamespace) -> None:
    ns.policy("attach", "--dev", "nic")
    ns.ping()  # resolves the neighbour: no packet below is dropped while it waits for that
    for index in range(4):
        ns.send(0x67630000 + index, index + 1)
    classes = ns.show("nic")["classes"]
    assert [classes[name]["packets"] for name in ("urgent", "guide", "warm", "background")] == [1, 2, 3, 4]
    ns.policy("detach", "--dev", "nic")


def test_a_rate_is_what_a_class_sends_not_its_allowance(ns: PolicyNamespace) -> None:
    ns.policy("attach", "--dev", "nic", "--link", "1gbit")
    ns.ping()
    for _ in range(3):  # the very first packets are not paced
        ns.send(0x67630000 + 3, 5)
    shown = ns.show("nic")
    background, guide = shown["classes"]["background"], shown["classes"]["guide"]
    assert background["bytes"] > 0 and background["bytes_per_second"] == 0 and guide["bytes_per_second"] == 0
    assert 0.0025 * shown["link"] <= background["allowance"] <= shown["target"]
    assert shown["classes"]["urgent"]["allowance"] is None and shown["classes"]["tenants"]["allowance"] is None
    ns.policy("detach", "--dev", "nic")


def test_show_prints_what_was_set(ns: PolicyNamespace) -> None:
    ns.policy("attach", "--dev", "nic", "--link", "1gbit")
    ns.policy("set", "--dev", "nic", "class.warm.cap=50mbit", "class.guide.paced=false", "tenants.decay=250ms")
    values = ns.show("nic")["values"]
    assert (values["class.warm.cap"], values["class.guide.paced"], values["tenants.decay"]) == ("50mbit", "false", "250ms")
    text = ns.policy("show", "--dev", "nic").stdout
    assert "tenants.decay=250ms" in text
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert "50mbit" in lines["warm"] and "unpaced" in lines["guide"] and "AF21" in lines["guide"]
    ns.policy("detach", "--dev", "nic")


def test_show_lists_all_devices_with_a_policy(ns: PolicyNamespace) -> None:
    assert "no policy is attached" in ns.policy("show").stdout
    ns.policy("attach", "--dev", "nic")
    assert [each["device"] for each in json.loads(ns.policy("show", "--json").stdout)] == ["nic"]
    assert "tenants" in ns.policy("show").stdout
    assert "detached nic" in ns.policy("detach", "--all").stdout
    assert pins() == []


def test_watch_prints_until_interrupted(ns: PolicyNamespace) -> None:
    ns.policy("attach", "--dev", "nic")
    watch = ns.start(str(GCCTL), "policy", "show", "--dev", "nic", "--watch=50ms", "--json")
    try:
        assert watch.stdout
        packets = []
        for _ in range(3):
            ns.ping()
            packets.append(json.loads(watch.stdout.readline())[0]["classes"]["tenants"]["packets"])
        # Lines may have been buffered during the pings, but no count is lower than the one before.
        assert packets == sorted(packets)
        watch.send_signal(signal.SIGINT)
        _, error = watch.communicate(timeout=TIMEOUT)
        assert (watch.returncode, error) == (0, "")
    finally:
        watch.kill()
        watch.communicate(timeout=TIMEOUT)
    ns.policy("detach", "--dev", "nic")


def test_concurrent_sets_lose_nothing(ns: PolicyNamespace) -> None:
    ns.policy("attach", "--dev", "nic", "--link", "1gbit")
    for weight in range(2, 6):
        started = [ns.start(str(GCCTL), "policy", "set", "--dev", "nic", f"class.{name}.weight={weight}")
                   for name in ("guide", "warm", "background")]
        for each in started:
            _, error = each.communicate(timeout=TIMEOUT)
            assert each.returncode == 0, error
        values = ns.show("nic")["values"]
        assert [values[f"class.{name}.weight"] for name in ("guide", "warm", "background")] == [str(weight)] * 3
    ns.policy("detach", "--dev", "nic")


def test_a_set_beside_a_detach_leaves_nothing(ns: PolicyNamespace) -> None:
    before = ns.qdiscs("nic")
    for attempt in range(5):
        ns.policy("attach", "--dev", "nic", "--link", "1gbit")
        setting = [ns.start(str(GCCTL), "policy", "set", "--dev", "nic", f"use={50 + attempt}%") for _ in range(3)]
        ns.policy("detach", "--dev", "nic")
        for each in setting:
            _, error = each.communicate(timeout=TIMEOUT)
            assert each.returncode == 0 or "no policy on nic" in error, error
        assert pins() == [] and ns.qdiscs("nic") == before


def test_attach_twice_is_refused_and_the_first_stays(ns: PolicyNamespace) -> None:
    ns.policy("attach", "--dev", "nic")
    again = ns.policy("attach", "--dev", "nic", "--policy", "fast", check=False)
    assert again.returncode == 3 and "already has the policy 'silent'" in again.stderr
    assert ns.show("nic")["in_place"]
    ns.policy("detach", "--dev", "nic")


def test_errors_name_what_is_missing(ns: PolicyNamespace) -> None:
    for argv, status, text in [(("detach", "--dev", "nic"), 3, "no policy on nic"),
                               (("show", "--dev", "nic"), 3, "no policy on nic"),
                               (("set", "--dev", "nic", "use=50%"), 3, "no policy on nic"),
                               (("attach", "--dev", "nosuch"), 2, "no network device 'nosuch'"),
                               (("attach", "--dev", "lo"), 3, "loopback"),
                               (("attach", "--dev", "nic", "--link", "0"), 2, "'0'"),
                               (("attach",), 2, "dev"), (("detach",), 2, "--dev NIC or --all"),
                               (("set", "--dev", "nic"), 2, "expected --policy, --link"), (("nosuch",), 2, "unknown command 'nosuch'")]:
        done = ns.policy(*argv, check=False)
        assert done.returncode == status and text in done.stderr, (argv, done)


def test_a_removed_device_leaves_only_its_pins(ns: PolicyNamespace) -> None:
    ns.policy("attach", "--dev", "nic")
    ns.run("ip", "link", "delete", "nic")
    assert "no policy is attached" in ns.policy("show").stdout
    assert pins() != []
    ns.policy("detach", "--all")
    assert pins() == []


def test_a_new_device_of_the_same_name_has_no_policy(ns: PolicyNamespace) -> None:
    ns.policy("attach", "--dev", "nic")
    ns.run("ip", "link", "delete", "nic")
    ns.run("ip", "link", "add", "nic", "type", "veth", "peer", "name", "other")
    ns.run("ip", "link", "set", "nic", "up")
    ns.policy("attach", "--dev", "nic", "--policy", "fast")
    assert ns.show("nic")["policy"] == "fast"
    ns.policy("detach", "--dev", "nic")
    assert [q["kind"] for q in ns.egress_qdiscs("nic")] == ["noqueue"] and pins() == []


def test_a_device_name_with_a_dot(ns: PolicyNamespace) -> None:
    ns.run("ip", "link", "add", "link", "nic", "name", "nic.5", "type", "vlan", "id", "5")
    ns.run("ip", "link", "set", "nic.5", "up")
    ns.policy("attach", "--dev", "nic.5", "--link", "1gbit")
    assert ns.show("nic.5")["device"] == "nic.5"
    ns.policy("detach", "--dev", "nic.5")
    assert pins() == []
