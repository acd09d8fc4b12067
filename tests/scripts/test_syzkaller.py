# SPDX-License-Identifier: GPL-2.0-or-later
"""kmod/syzkaller/guidecopy.txt describes what the UAPI header declares."""

import re

from gclab.environment import TREE

HEADER = re.sub(r"/\*.*?\*/", "", (TREE / "include/uapi/guidecopy.h").read_text(), flags=re.DOTALL)
DESCRIPTION = re.sub(r"^#.*", "", (TREE / "kmod/syzkaller/guidecopy.txt").read_text(), flags=re.MULTILINE)

# Structs of the mapped ring, which no system call takes.
NO_ARGUMENTS = {"gc_ring_consumer", "gc_ring_producer", "gc_record"}
C_BITS = {"__u32": 32, "__s32": 32, "__u64": 64, "__aligned_u64": 64, "__u16": 16}
# Types of syzkaller's that do not name their size.
RESOURCE_BITS = {"pid": 32, "fd_memfd": 32, "fd_kvmvm": 32, "fd_guidecopy_node": 32, "vma64": 64, "ptr64": 64}

Fields = list[tuple[str, int]]  # name and bits


def structs_of_header() -> dict[str, Fields]:
    return {name: [(field, C_BITS[kind]) for kind, field in re.findall(r"^\t(\w+) (\w+);$", body, re.MULTILINE)]
            for name, body in re.findall(r"^struct (\w+) \{\n(.*?)^\};", HEADER, re.MULTILINE | re.DOTALL)}


def bits(kind: str) -> int:
    if match := re.search(r"int(16|32|64)", kind):
        return int(match[1])
    return RESOURCE_BITS[re.split(r"\W", kind)[0]]


def structs_of_description() -> dict[str, Fields]:
    return {name: [(field, bits(kind)) for field, kind in re.findall(r"^\t(\w+)\s+(.+?)(?:\s+\(out\))?$", body, re.MULTILINE)]
            for name, body in re.findall(r"^(\w+) \{\n(.*?)^\}", DESCRIPTION, re.MULTILINE | re.DOTALL)}


def test_structs_have_the_same_fields() -> None:
    header, description = structs_of_header(), structs_of_description()
    assert set(description) == set(header) - NO_ARGUMENTS
    for name, fields in description.items():
        assert fields == header[name], name


def test_every_ioctl_is_described_with_its_struct() -> None:
    commands = re.findall(r"^#define (GC_IOC_\w+) _IO\(", HEADER, re.MULTILINE)
    calls = re.findall(r"^ioctl\$(\w+)\(fd fd_guidecopy, cmd const\[(\w+)\], arg ptr\[\w+, (\w+)\]\)$", DESCRIPTION, re.MULTILINE)
    assert {call: (command, struct) for call, command, struct in calls} == {
        command: (command, "gc_" + command.removeprefix("GC_IOC_").lower()) for command in commands}


def test_constants_exist() -> None:
    names = set(re.findall(r"\bGC_\w+", DESCRIPTION))
    assert names
    for name in names:
        assert re.search(rf"(#define {name}\b|^\t{name} = )", HEADER, re.MULTILINE), name


def test_every_flag_and_mode_is_described() -> None:
    for name in re.findall(r"#define (GC_SESSION_\w+) 0x|^\t(GC_TRACK_\w+) = ", HEADER, re.MULTILINE):
        assert re.search(rf"\b{name[0] or name[1]}\b", DESCRIPTION), name
