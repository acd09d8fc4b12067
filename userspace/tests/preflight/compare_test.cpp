// SPDX-License-Identifier: GPL-2.0-or-later
#include "preflight/compare.h"

#include <algorithm>
#include <gmock/gmock.h>

namespace gc::preflight {
namespace {

using testing::HasSubstr;

peer::VmFacts vm() {
    return {.qemu = "7.2",
            .machine = "pc-q35-7.2",
            .cpus = 2,
            .cpu_model = "qemu64-x86_64-cpu",
            .cpu_features = "1.0.ECX=10002001 1.0.EDX=f8 7.0.EBX=20",
            .blocks = {{"m", 64 << 20, 64 << 20, 4096, "1:7"},
                       {"/rom@etc/acpi/tables", 0x20000, 0x200000, 4096, ""}},
            .devices = {{"virtio-net-pci", 2}, {"pvpanic", 1}},
            .board = {{"e1000e", 1}, {"mc146818rtc", 1}},
            .host = "boot-1",
            .capabilities = {},
            .tls_creds = "",
            .mode = "",
            .disks = {{{"root", "/nfs/root.qcow2", 1 << 20, false, "shared", "9:3", 3, 2, 2},
                       {"iso", "/srv/a.iso", 4096, true, "local", "8:4", 4, 0, 0}}},
            .memory = ""};
}

/// Another host's, with memory of its own.
peer::VmFacts same_elsewhere() {
    peer::VmFacts other = vm();
    other.host = "boot-2";
    // The number of the device is each host's own; the locks of the source are not seen there.
    (*other.disks)[0].file = "7:3";
    (*other.disks)[0].locks = (*other.disks)[0].own_locks = 0;
    other.disks->pop_back();
    other.disks->push_back({"iso", "/srv/a.iso", 4096, true, "", "7:5", 5, 0, 0});
    return other;
}

/// Without the difference of same_elsewhere(): nobody knows whether both have the same ISO image.
std::vector<Difference> compare_all(const peer::VmFacts& destination) {
    auto found = compare(vm(), destination);
    std::erase_if(found, [](const Difference& each) {
        return !each.fatal && each.what.starts_with("disk 'iso': it is a local file of one host");
    });
    return found;
}

void expect_one(const peer::VmFacts& destination, bool fatal, std::string_view says) {
    const auto found = compare_all(destination);
    ASSERT_EQ(found.size(), 1U) << says;
    EXPECT_EQ(found[0].fatal, fatal) << says;
    EXPECT_THAT(found[0].what, HasSubstr(says));
    EXPECT_FALSE(found[0].consequence.empty());
}

TEST(Compare, TheSameVmHasNoDifferences) {
    EXPECT_TRUE(compare_all(same_elsewhere()).empty());
    EXPECT_EQ(compare(vm(), same_elsewhere()).size(), 1U);
}

TEST(Compare, WhatTheDestinationWouldRefuseIsFatal) {
    peer::VmFacts other = same_elsewhere();
    other.machine = "pc-i440fx-7.2";
    expect_one(other, true, "machine type: pc-q35-7.2 at the source, pc-i440fx-7.2 at the destin");
    other = same_elsewhere();
    other.cpus = 1;
    expect_one(other, true, "vCPUs: 2 at the source, 1 at the destination");
    other = same_elsewhere();
    other.blocks[0].length = other.blocks[0].max_length = 96 << 20;
    expect_one(other, true, "RAM block 'm', bytes: 67108864 at the source, 100663296");
    other = same_elsewhere();
    other.blocks[0].page_size = 2 << 20;
    expect_one(other, true, "page size");
    other = same_elsewhere();
    other.blocks.erase(other.blocks.begin());
    expect_one(other, true, "RAM block 'm' is missing at the destination");
    other = same_elsewhere();
    other.devices["virtio-net-pci"] = 1;
    expect_one(other, true,
               "devices of type virtio-net-pci: 2 at the source, 1 at the destination");
}

TEST(Compare, WhatQemuTakesIsAWarning) {
    peer::VmFacts other = same_elsewhere();
    other.cpus = 4;
    expect_one(other, false, "vCPUs: 2 at the source, 4");
    other = same_elsewhere();
    other.cpu_model = "qemu32-x86_64-cpu";
    expect_one(other, false, "CPU model");
    other = same_elsewhere();
    other.cpu_features = "1.0.ECX=2000 1.0.EDX=f8";
    expect_one(other, false, "CPU features that the destination lacks: pni avx avx2");
    other = same_elsewhere();
    other.cpu_features += " 7.1.EAX=30";
    expect_one(other, false, "CPU features that the source lacks: 7.1.EAX[4] 7.1.EAX[5]");
    other = same_elsewhere();
    other.devices.erase("pvpanic");
    expect_one(other, false, "devices of type pvpanic");
    other = same_elsewhere();
    other.devices["virtio-rng-pci"] = 1;
    expect_one(other, false, "devices of type virtio-rng-pci: 0 at the source, 1");
    other = same_elsewhere();
    other.blocks.push_back({"more", 4096, 4096, 4096, ""});
    expect_one(other, false, "RAM block 'more' is at the destination only");
}

TEST(Compare, TheBoardsPartsCountInOneVersionOfQemuOnly) {
    peer::VmFacts other = same_elsewhere();
    other.board.erase("e1000e");
    expect_one(other, true, "devices of type e1000e: 1 at the source, 0");
    other.qemu = "10.0";
    expect_one(other, false, "QEMU version: 7.2 at the source, 10.0 at the destination");
}

TEST(Compare, TablesOfTheFirmwareAreResized) {
    peer::VmFacts other = same_elsewhere();
    other.blocks[1].length = 0x40000;
    EXPECT_TRUE(compare_all(other).empty());
    other.blocks[1].length = other.blocks[1].max_length = 0x1000;
    expect_one(other, true, "/rom@etc/acpi/tables");
}

TEST(Compare, OneFileAsTheMemoryOfBothIsFatal) {
    expect_one(vm(), true, "RAM block 'm': both QEMUs share one file as its memory");
    peer::VmFacts other = vm();
    other.blocks[0].file = "1:8";
    other.blocks.push_back({"", 1, 1, 4096, ""});  // not migrated
    EXPECT_TRUE(compare_all(other).empty());
}

TEST(Compare, SettingsThatMakeAnotherStreamAreFatal) {
    peer::VmFacts other = same_elsewhere();
    other.capabilities = {"events", "postcopy-ram", "multifd"};
    expect_one(other, true, "the destination QEMU has the migration capability multifd on");
    other = same_elsewhere();
    other.tls_creds = "tls0";
    expect_one(other, true, "tls-creds");
    other = same_elsewhere();
    other.mode = "cpr-transfer";
    expect_one(other, true, "mode cpr-transfer");
    other.mode = "normal";
    EXPECT_TRUE(compare_all(other).empty());
}

TEST(Compare, SlotsForMemoryMustBeTheSame) {
    peer::VmFacts source = vm(), other = same_elsewhere();
    source.memory_slots = 2;
    const auto fatal = [&] {
        const auto found = compare(source, other);
        return std::ranges::count_if(found, &Difference::fatal);
    };
    EXPECT_EQ(fatal(), 0) << "an older gcctl does not say";
    other.memory_slots = 0;
    EXPECT_EQ(fatal(), 1);
    EXPECT_EQ(compare(source, other)[0].what, "slots for memory modules (-m slots=): 2 at the "
                                              "source, 0 at the destination");
    other.memory_slots = 2;
    EXPECT_EQ(fatal(), 0);
}

TEST(Compare, AHostWithTooLittleMemory) {
    peer::VmFacts other = same_elsewhere();
    other.memory = "too little memory for the VM: 1 MiB";
    expect_one(other, true, "too little memory");
    other.overcommit = true;
    expect_one(other, false, "too little memory");
}

TEST(Compare, AnImageThatIsNotSharedIsFatalIfItIsWritten) {
    peer::VmFacts other = same_elsewhere();
    (*other.disks)[0].storage = "local";
    expect_one(other, true, "disk 'root': it is a local file of one host (/nfs/root.qcow2 at");
    other = same_elsewhere();
    (*other.disks)[0].inode = 4;
    expect_one(other, true, "disk 'root': it is another file");
    other.host = "boot-1";  // now the number of the device counts
    other.blocks.clear();
    const auto found = compare_all(other);
    ASSERT_EQ(found.size(), 4U);
    EXPECT_THAT(found[2].what, HasSubstr("disk 'root': it is another file"));
    EXPECT_THAT(found[3].what, HasSubstr("disk 'iso': it is another file"));
    EXPECT_FALSE(found[3].fatal);
    other = same_elsewhere();
    for (auto& disk : *other.disks)
        disk.storage = disk.file = "";  // on the network, or QEMU's process is not known
    EXPECT_TRUE(compare_all(other).empty());
    other.disks.reset();  // an older gcctl
    EXPECT_TRUE(compare_all(other).empty());
}

TEST(Compare, DisksOfOtherNamesArePairedInTheirOrder) {
    peer::VmFacts other = same_elsewhere();
    (*other.disks)[0].name = "drive0";
    EXPECT_TRUE(compare_all(other).empty());
    (*other.disks)[0].size = 4096;
    expect_one(other, true, "disk 'root', bytes: 1048576 at the source, 4096");
    (*other.disks)[0].size = 1 << 21;
    expect_one(other, false, "disk 'root', bytes: 1048576 at the source, 2097152");
    other.disks->erase(other.disks->begin());
    expect_one(other, true, "disk 'root': /nfs/root.qcow2 at the source, no image");
    other = same_elsewhere();
    other.disks->pop_back();
    expect_one(other, false, "disk 'iso': /srv/a.iso at the source, no image");
    other = same_elsewhere();
    (*other.disks)[0].read_only = true;
    expect_one(other, true, "disk 'root': writable at the source, read-only");
}

TEST(Compare, AnImageThatAThirdHasLockedIsFatal) {
    peer::VmFacts other = same_elsewhere();
    (*other.disks)[0].locks = 1;
    expect_one(other, true,
               "disk 'root': another process on the destination's host has locked /nf");
    (*other.disks)[0].own_locks = 1;
    EXPECT_TRUE(compare_all(other).empty());
    // On one host those of the source QEMU are seen, too.
    other = vm();
    other.blocks[0].file = "1:8";
    EXPECT_TRUE(compare_all(other).empty());
    (*other.disks)[0] = {"root", "/nfs/root.qcow2", 1 << 20, false, "shared", "9:3", 3, 3, 0};
    expect_one(other, true, "has locked");
}

TEST(Compare, FatalDifferencesComeFirst) {
    peer::VmFacts other = same_elsewhere();
    other.cpu_model = "qemu32-x86_64-cpu";
    other.blocks.clear();
    other.devices.clear();
    const auto found = compare_all(other);
    ASSERT_EQ(found.size(), 5U);
    EXPECT_TRUE(found[0].fatal && found[1].fatal && found[2].fatal);
    EXPECT_FALSE(found[3].fatal || found[4].fatal);
}

}  // namespace
}  // namespace gc::preflight
