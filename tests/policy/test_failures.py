# SPDX-License-Identifier: GPL-2.0-or-later
"""When a policy cannot be attached, the error says why and what to do, and nothing is left on the NIC."""

import json
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TIMEOUT, PolicyNamespace, pins
from gclab import gcctl
from gclab.environment import BIN, GCCTL, TREE

# A custom policy; the tests put something wrong into it.
OBJECT = """
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include "gc_policy.h"
char LICENSE[] SEC("license") = "GPL";
#define ARRAY(map, kind, entries, what) \\
    struct { __uint(type, kind); __uint(max_entries, entries); __type(key, __u32); __type(value, what); } map SEC(".maps")
@VERSION@
@MAPS@
SEC("@SECTION@") int mine(struct __sk_buff *skb) { @BODY@ return TC_ACT_UNSPEC; }
"""
VERSION = "const volatile __u32 gc_policy_version = GC_POLICY_VERSION;"
CONFIG = "ARRAY(gc_config, BPF_MAP_TYPE_ARRAY, 1, struct gc_policy_config);"
STATS = "ARRAY(gc_stats, BPF_MAP_TYPE_PERCPU_ARRAY, GC_COUNTERS, struct gc_class_stats);"
BTF_KIND_VAR = 14
LOOP = "volatile char *p = (void *)(long)skb->mark; return *p;"


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[..., Path]:
    def compiled(version: str = VERSION, maps: str = CONFIG + STATS, section: str = "tc", body: str = "") -> Path:
        source = tmp_path / "mine.bpf.c"
        text = OBJECT.replace("@VERSION@", version).replace("@MAPS@", maps).replace("@SECTION@", section)
        source.write_text(text.replace("@BODY@", body))
        subprocess.run(["clang", "--target=bpf", "-O2", "-g", f"-I{TREE / 'bpf'}", "-I/usr/include/x86_64-linux-gnu",
                        "-c", source, "-o", source.with_suffix(".o")], check=True, timeout=TIMEOUT)
        return source.with_suffix(".o")
    return compiled


def refused(ns: PolicyNamespace, *argv: str) -> str:
    before = ns.qdiscs("nic")
    done = ns.policy("attach", "--dev", "nic", *argv, check=False)
    assert done.returncode == 3, done
    assert ns.qdiscs("nic") == before and pins() == [] and ns.filters("nic") == ""
    return done.stderr


def test_a_custom_object(ns: PolicyNamespace, compiled: Callable[..., Path]) -> None:
    path = compiled()
    ns.policy("attach", "--dev", "nic", "--object", str(path))
    assert ns.show("nic")["object"] == str(path)
    ns.policy("detach", "--dev", "nic")
    assert pins() == []


@pytest.mark.parametrize("wrong, texts", [
    ({"version": ""}, ["gc_policy_version"]),
    ({"version": VERSION.replace("= GC_POLICY_VERSION", "= 7")}, ["gc_policy_version: expected 1, found 7"]),
    ({"maps": STATS}, ["expected a map gc_config"]),
    ({"maps": CONFIG + STATS.replace("PERCPU_", "")}, ["map gc_stats: expected type PERCPU_ARRAY, found array"]),
    ({"maps": CONFIG + STATS.replace("GC_COUNTERS", "3")}, ["map gc_stats: expected max_entries 5, found 3"]),
    ({"maps": CONFIG.replace("struct gc_policy_config", "__u32") + STATS}, ["map gc_config: expected a value size of", "found 4"]),
    ({"section": "xdp"}, ['expected one in SEC("tc"), found SEC("xdp")']),
    ({"body": LOOP}, ["rejected by the kernel's verifier", "invalid mem access"]),
], ids=["no version", "version", "no map", "type", "entries", "value", "section", "verifier"])
def test_an_object_that_breaks_the_contract(ns: PolicyNamespace, compiled: Callable[..., Path], wrong: dict[str, str], texts: list[str]) -> None:
    said = refused(ns, "--object", str(compiled(**wrong)))
    assert all(text in said for text in texts), said


def test_garbage_is_not_an_object(ns: PolicyNamespace, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.o"
    for content in (b"", b"garbage" * 100, b"\x7fELF\x02\x01\x01" + bytes(100)):
        garbage.write_bytes(content)
        assert "is not a BPF object" in refused(ns, "--object", str(garbage))
    missing = ns.policy("attach", "--dev", "nic", "--object", str(tmp_path / "nosuch.o"), check=False)
    assert missing.returncode == 2 and "nosuch.o: No such file" in missing.stderr


def test_an_object_that_crashes_libbpf(ns: PolicyNamespace, compiled: Callable[..., Path]) -> None:
    """libbpf before 1.3 follows a map's type, whatever its number; a newer one calls it no BPF object."""
    path = compiled()
    content = bytearray(path.read_bytes())
    btf = content.index(struct.pack("<HBBI", 0xeb9f, 1, 0, 24))
    type_offset, _, string_offset = struct.unpack_from("<III", content, btf + 8)
    strings = btf + 24 + string_offset
    name = content.index(b"\0gc_config\0", strings) + 1 - strings
    variable = content.index(struct.pack("<II", name, BTF_KIND_VAR << 24), btf + 24 + type_offset)
    struct.pack_into("<I", content, variable + 8, 0x7fffffff)
    path.write_bytes(content)
    said = refused(ns, "--object", str(path))
    assert "libbpf crashed on it (Segmentation fault); the file is damaged" in said or "is not a BPF object" in said, said


@pytest.mark.parametrize("capability", ["bpf", "net_admin"])
def test_without_a_capability(ns: PolicyNamespace, capability: str) -> None:
    before = ns.qdiscs("nic")
    # CAP_SYS_ADMIN includes CAP_BPF.
    done = ns.run("setpriv", f"--bounding-set=-{capability},-sys_admin", f"--inh-caps=-{capability},-sys_admin",
                  str(GCCTL), "policy", "attach", "--dev", "nic", check=False)
    assert done.returncode == 3 and "run gcctl with sudo" in done.stderr, done
    assert ns.qdiscs("nic") == before and pins() == []


def test_without_a_bpf_file_system(ns: PolicyNamespace, tmp_path: Path) -> None:
    done = gcctl.run("policy", "attach", "--dev", "nic", launcher=ns.launcher, env={"GC_BPFFS": str(tmp_path)})
    assert done.returncode == 3 and f"mount -t bpf bpf {tmp_path}" in done.stderr, done


def test_without_fq(ns: PolicyNamespace) -> None:
    """The lab's kernel does not load modules by itself, so without this one there is no fq."""
    subprocess.run(["rmmod", "sch_fq"], check=True, timeout=TIMEOUT)
    try:
        assert "modprobe sch_fq" in refused(ns)
    finally:
        subprocess.run(["modprobe", "sch_fq"], check=True, timeout=TIMEOUT)


def test_a_nic_of_unknown_speed(ns: PolicyNamespace) -> None:
    """Such as virtio-net's. A bridge without ports reports no speed, either."""
    ns.run("ip", "link", "add", "mute", "type", "bridge")
    ns.run("ip", "link", "set", "mute", "up")
    done = ns.policy("attach", "--dev", "mute", check=False)
    assert done.returncode == 3 and "mute does not report its speed" in done.stderr and "give --link RATE" in done.stderr
    migration = ns.run(str(BIN / "policy_user"), "mute", "silent", check=False)
    assert migration.returncode == 1 and "give --policy-link RATE" in migration.stderr
    assert pins() == []
    ns.policy("attach", "--dev", "mute", "--link", "1gbit")
    ns.policy("detach", "--dev", "mute")


def test_filters_of_others_stay_and_still_see_packets(ns: PolicyNamespace) -> None:
    ns.run("tc", "qdisc", "add", "dev", "nic", "clsact")
    ns.run("tc", "filter", "add", "dev", "nic", "egress", "prio", "2", "protocol", "all", "matchall", "action", "pass")
    before = ns.filters("nic")
    ns.policy("attach", "--dev", "nic")

    def seen() -> int:
        shown = json.loads(ns.run("tc", "-s", "-j", "filter", "show", "dev", "nic", "egress").stdout)
        return sum(action["stats"]["packets"] for each in shown for action in each.get("options", {}).get("actions", []))

    already = seen()
    ns.ping()
    assert ns.show("nic")["classes"]["tenants"]["packets"] >= 1 and seen() > already
    ns.policy("detach", "--dev", "nic")
    assert ns.filters("nic") == before
    assert "clsact" in [q["kind"] for q in ns.qdiscs("nic")]


def add_filter(ns: PolicyNamespace, priority: int, *what: str) -> None:
    ns.run("tc", "filter", "add", "dev", "nic", "egress", "prio", str(priority), "protocol", "all", *what)


@pytest.mark.parametrize("verdict, goes_on", [("TC_ACT_OK", False), ("TC_ACT_PIPE", True)], ids=["ok", "pipe"])
def test_another_program_at_clsact(ns: PolicyNamespace, tmp_path: Path, verdict: str, goes_on: bool) -> None:
    """Our program runs before an earlier one of priority 1. One that is added later runs before ours, and show names it;
    not with tcx."""
    source = tmp_path / "first.bpf.c"
    source.write_text("#include <linux/bpf.h>\n#include <linux/pkt_cls.h>\n#include <bpf/bpf_helpers.h>\n"
                      'char LICENSE[] SEC("license") = "GPL";\n'
                      f'SEC("tc") int first(struct __sk_buff *skb) {{ return {verdict}; }}\n')
    program = source.with_suffix(".o")
    subprocess.run(["clang", "--target=bpf", "-O2", "-g", "-I/usr/include/x86_64-linux-gnu", "-c", source, "-o", program],
                   check=True, timeout=TIMEOUT)
    theirs = ("bpf", "direct-action", "object-file", str(program), "section", "tc")
    ns.run("tc", "qdisc", "add", "dev", "nic", "clsact")
    add_filter(ns, 1, *theirs)
    assert "warning" not in ns.policy("attach", "--dev", "nic").stderr
    ns.ping()
    shown = ns.show("nic")
    assert shown["before"] == "" and shown["classes"]["tenants"]["packets"] > 0
    add_filter(ns, 1, *theirs)
    already = ns.show("nic")["classes"]["tenants"]["packets"]
    ns.ping()
    tcx, shown = shown["hook"] == "tcx", ns.show("nic")
    assert shown["in_place"] and shown["before"] == ("" if tcx else "bpf of priority 1")
    assert (shown["classes"]["tenants"]["packets"] > already) == (tcx or goes_on)
    ns.policy("detach", "--dev", "nic")
    assert ns.filters("nic").count("direct-action") == 2


def test_a_filter_of_another_kind_with_priority_1(ns: PolicyNamespace) -> None:
    """Ours cannot be put before it, except with tcx, whose programs always run first."""
    ns.run("tc", "qdisc", "add", "dev", "nic", "clsact")
    add_filter(ns, 1, "matchall", "action", "pass")
    before = ns.filters("nic")
    attached = ns.policy("attach", "--dev", "nic")
    ns.ping()
    shown = ns.show("nic")
    tcx = shown["hook"] == "tcx"
    assert shown["in_place"] and shown["before"] == ("" if tcx else "matchall of priority 1")
    assert ("warning: nic: other filters see packets before" in attached.stderr) == (not tcx)
    assert (shown["classes"]["tenants"]["packets"] > 0) == tcx
    ns.policy("detach", "--dev", "nic")
    assert ns.filters("nic") == before


def test_a_filter_with_a_later_priority_runs_later(ns: PolicyNamespace) -> None:
    ns.run("tc", "qdisc", "add", "dev", "nic", "clsact")
    add_filter(ns, 2, "matchall", "action", "pass")
    assert "warning" not in ns.policy("attach", "--dev", "nic").stderr
    assert ns.show("nic")["before"] == ""
    ns.policy("detach", "--dev", "nic")
