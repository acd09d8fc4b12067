// SPDX-License-Identifier: GPL-2.0-or-later
#include "preflight/compare.h"

#include <gmock/gmock.h>

namespace gc::preflight {
namespace {

using testing::HasSubstr;

peer::VmFacts vm() {
    return {.qemu = "7.2",
            .machine = "pc-q35-7.2",
            .cpus = 2,
            .cpu_model = "qemu64-x86_64-cpu",
            .cpu_features = "1.0.ECX=2001 1.0.EDX=f8",
            .blocks = {{"m", 64 << 20, 64 << 20, 4096, "1:7"},
                       {"/rom@etc/acpi/tables", 0x20000, 0x200000, 4096, ""}},
            .devices = {{"virtio-net-pci", 2}, {"pvpanic", 1}},
            .board = {{"e1000e", 1}, {"mc146818rtc", 1}},
            .host = "boot-1"};
}

/// Another host's, with memory of its own.
peer::VmFacts same_elsewhere() {
    peer::VmFacts other = vm();
    other.host = "boot-2";
    return other;
}

void expect_one(const peer::VmFacts& destination, bool fatal, std::string_view says) {
    const auto found = compare(vm(), destination);
    ASSERT_EQ(found.size(), 1U) << says;
    EXPECT_EQ(found[0].fatal, fatal) << says;
    EXPECT_THAT(found[0].what, HasSubstr(says));
    EXPECT_FALSE(found[0].consequence.empty());
}

TEST(Compare, TheSameVmHasNoDifferences) {
    EXPECT_TRUE(compare(vm(), same_elsewhere()).empty());
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
    expect_one(other, false, "1.0.ECX=2001 at the source, 1.0.ECX=2000 at the destination");
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
    EXPECT_TRUE(compare(vm(), other).empty());
    other.blocks[1].length = other.blocks[1].max_length = 0x1000;
    expect_one(other, true, "/rom@etc/acpi/tables");
}

TEST(Compare, OneFileAsTheMemoryOfBothIsFatal) {
    expect_one(vm(), true, "RAM block 'm': both QEMUs share one file as its memory");
    peer::VmFacts other = vm();
    other.blocks[0].file = "1:8";
    other.blocks.push_back({"", 1, 1, 4096, ""});  // not migrated
    EXPECT_TRUE(compare(vm(), other).empty());
}

TEST(Compare, FatalDifferencesComeFirst) {
    peer::VmFacts other = same_elsewhere();
    other.cpu_model = "qemu32-x86_64-cpu";
    other.blocks.clear();
    other.devices.clear();
    const auto found = compare(vm(), other);
    ASSERT_EQ(found.size(), 5U);
    EXPECT_TRUE(found[0].fatal && found[1].fatal && found[2].fatal);
    EXPECT_FALSE(found[3].fatal || found[4].fatal);
}

}  // namespace
}  // namespace gc::preflight
