// SPDX-License-Identifier: GPL-2.0-or-later
// The texts in tests/data/monitor are shortened replies of QEMU 7.2.22.
#include "qmp/monitor_text.h"
#include "qmp/ram_blocks.h"

#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace gc::qmp {
namespace {

using ::testing::HasSubstr;

std::string recorded(const std::string& machine, const std::string& command) {
    std::ifstream file(std::string(GC_TEST_DATA "/monitor/") + machine + ".json");
    EXPECT_TRUE(file) << machine;
    std::string text;
    const auto said = nlohmann::json::parse(file);
    for (const auto& line : said.at(command))
        text += line.get<std::string>() + "\r\n";
    return text;
}

std::vector<RamBlockLine> blocks_of(const std::string& machine) {
    auto blocks = parse_ram_blocks(recorded(machine, "x-query-ramblock"));
    EXPECT_TRUE(blocks) << blocks.error().message;
    return blocks.value_or(std::vector<RamBlockLine>{});
}

std::string ranges_of(const std::string& machine) {
    auto ranges = parse_flat_view(recorded(machine, "info mtree -f"));
    EXPECT_TRUE(ranges) << ranges.error().message;
    std::string text;
    for (const auto& range : ranges.value_or(std::vector<FlatRange>{}))
        text +=
            fmt::format("{:x}+{:x}={}@{:x}\n", range.gpa, range.length, range.region, range.offset);
    return text;
}

TEST(ParseRamBlocks, Q35WithVga) {
    const auto blocks = blocks_of("q35-vga");
    ASSERT_EQ(blocks.size(), 8u);
    EXPECT_EQ(blocks[0].name, "pc.ram");
    EXPECT_EQ(blocks[0].page_size, 4096u);
    EXPECT_EQ(blocks[0].used_length, 64u << 20);
    EXPECT_FALSE(blocks[0].hva);
    EXPECT_EQ(blocks[1].name, "0000:00:01.0/vga.vram");
    EXPECT_EQ(blocks[2].name, "/rom@etc/acpi/tables");
    EXPECT_EQ(blocks[2].used_length, 0x20000u);
    EXPECT_EQ(blocks[2].max_length, 0x200000u);
}

TEST(ParseRamBlocks, OtherMachines) {
    EXPECT_EQ(blocks_of("pc-5g").at(0).used_length, 5ull << 30);
    EXPECT_EQ(blocks_of("microvm").at(0).name, "microvm.ram");
    EXPECT_EQ(blocks_of("q35-numa").at(1).name, "r1");
    EXPECT_EQ(blocks_of("pc-q35-3.1").at(0).name, "/objects/r0");
}

TEST(ParseRamBlocks, WithHostAddresses) {
    // The columns of QEMU 8.2 and later (ram_block_format, system/physmem.c).
    auto blocks = parse_ram_blocks("              Block Name    PSize              Offset          "
                                   "     Used              Total"
                                   "                HVA  RO\n"
                                   "               my memory    2 MiB  0x0000000000000000 "
                                   "0x0000000040000000 0x0000000040000000"
                                   " 0x00007f0000000000  rw\n"
                                   "                 pc.bios    4 KiB  0x0000000140000000 "
                                   "0x0000000000040000 0x0000000000040000"
                                   " 0x00007f1000000000  ro\n");
    ASSERT_TRUE(blocks) << blocks.error().message;
    ASSERT_EQ(blocks->size(), 2u);
    EXPECT_EQ(blocks->at(0).name, "my memory");
    EXPECT_EQ(blocks->at(0).page_size, 2u << 20);
    EXPECT_EQ(blocks->at(0).hva, 0x7f0000000000u);
    EXPECT_EQ(blocks->at(1).hva, 0x7f1000000000u);
}

TEST(ParseRamBlocks, OneThatIsNotMigratedHasNoName) {
    const auto blocks = parse_ram_blocks("         0000:00:03.0/v0    4 KiB  0x0000000000000000 "
                                         "0x0000000001000000 0x0000000001000000\n"
                                         "                            4 KiB  0x0000000001000000 "
                                         "0x0000000002000000 0x0000000002000000\n");
    ASSERT_TRUE(blocks) << blocks.error().message;
    EXPECT_EQ(blocks->at(0).name, "0000:00:03.0/v0");
    EXPECT_EQ(blocks->at(1).name, "");
    EXPECT_EQ(blocks->at(1).used_length, 32u << 20);
}

TEST(ParseRamBlocks, RefusesWhatItDoesNotKnow) {
    EXPECT_FALSE(parse_ram_blocks(""));
    EXPECT_FALSE(parse_ram_blocks("Block Name PSize\n"));
    EXPECT_THAT(parse_ram_blocks("pc.ram 4 KiB 0x0\n").error().message, HasSubstr("'pc.ram 4 KiB"));
    EXPECT_FALSE(parse_ram_blocks("pc.ram 4 KiB 0xzz00000000000000 0x0000000000000000 0x0\n"));
}

TEST(ParseNetworks, FindsNicsAndWhatTheyAreConnectedTo) {
    const auto nics = parse_networks(
        "virtio-net-pci.0: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:00:00:01\r\n"
        " \\ n0: index=0,type=tap,ifname=mmt0,script=no,downscript=no\r\n"
        "virtio-net-pci.1: index=1,type=nic,\r\n"
        " \\ n0: index=1,type=tap,ifname=mmt1,script=no,downscript=no\r\n"
        "given: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:00:00:02\r\n"
        " \\ n1: index=0,type=tap,fd=33\r\n"
        "foo: index=0,type=nic,model=e1000,macaddr=52:54:00:12:34:56\r\n"
        " \\ n2: index=0,type=user,net=10.0.2.0,restrict=off\r\n"
        "alone: index=0,type=nic,model=e1000,macaddr=52:54:00:12:34:57\r\n");
    ASSERT_EQ(nics.size(), 4U);
    EXPECT_EQ(nics[0].name, "virtio-net-pci.0");
    EXPECT_EQ(nics[0].mac, "52:54:00:00:00:01");
    EXPECT_EQ(nics[0].backend, "tap");
    EXPECT_EQ(nics[0].ifname, "mmt0") << "the first queue";
    EXPECT_EQ(nics[0].fd, -1);
    EXPECT_EQ(nics[1].fd, 33);
    EXPECT_EQ(nics[1].ifname, "");
    EXPECT_EQ(nics[2].backend, "user");
    EXPECT_EQ(nics[3].backend, "");
}

TEST(ParseNetworks, LeavesOutWhatIsOnAHub) {
    EXPECT_TRUE(parse_networks("hub 0\n \\ hub0port1: #net248: index=0,type=tap,ifname=mmt2\n"
                               " \\ hub0port0: e1000e.1: index=0,type=nic,model=e1000e,"
                               "macaddr=52:54:00:12:34:57\n")
                    .empty());
    EXPECT_TRUE(parse_networks("").empty());
    EXPECT_TRUE(parse_networks(": type=nic\n \\ :\n \\").empty());
}

TEST(ParseFlatView, Q35WithVga) {
    EXPECT_EQ(ranges_of("q35-vga"), "0+a0000=pc.ram@0\n100000+3f00000=pc.ram@100000\n");
}

TEST(ParseFlatView, PcWithThePciHole) {
    EXPECT_EQ(ranges_of("pc-5g"), "0+c0000=m@0\n100000+bff00000=m@100000\n"
                                  "100000000+80000000=m@c0000000\n");
}

TEST(ParseFlatView, Microvm) {
    // The machine copies its firmware below 1 MiB as RAM (microvm.c, x86_bios_rom_init with
    // isapc_ram_fw).
    EXPECT_EQ(ranges_of("microvm"), "0+f0000=microvm.ram@0\nf0000+10000=pc.bios@0\n"
                                    "100000+3f00000=microvm.ram@100000\n");
}

TEST(ParseFlatView, TwoNumaNodes) {
    EXPECT_EQ(ranges_of("q35-numa"),
              "0+c0000=r0@0\n100000+1f00000=r0@100000\n2000000+2000000=r1@0\n");
}

TEST(ParseFlatView, WithKvm) {
    auto ranges = parse_flat_view("FlatView #0\n AS \"memory\", root: system\n"
                                  "  0000000000100000-00000000001fffff (prio 0, ram): my mem "
                                  "@0000000000100000 KVM\n"
                                  "  0000000000200000-00000000002fffff (prio 0, ram): r1 KVM\n");
    ASSERT_TRUE(ranges);
    ASSERT_EQ(ranges->size(), 2u);
    EXPECT_EQ(ranges->at(0).region, "my mem");
    EXPECT_EQ(ranges->at(0).offset, 0x100000u);
    EXPECT_EQ(ranges->at(1).region, "r1");
}

TEST(ParseFlatView, NeedsTheMemoryAddressSpace) {
    EXPECT_FALSE(parse_flat_view("FlatView #0\n AS \"I/O\", root: io\n"));
}

TEST(ParseGpa2hva, AddressAndRefusals) {
    auto address =
        parse_gpa2hva("Host virtual address for 0x100000 (my mem) is 0x7f2dd3fff000\r\n");
    ASSERT_TRUE(address) << address.error().message;
    EXPECT_EQ(address->region, "my mem");
    EXPECT_EQ(address->hva, 0x7f2dd3fff000u);
    EXPECT_THAT(parse_gpa2hva("Memory at address 0xfee00000 is not RAM\r\n").error().message,
                HasSubstr("'Memory at address 0xfee00000 is not RAM'"));
    EXPECT_FALSE(parse_gpa2hva(""));
}

class Locate : public ::testing::Test {
  protected:
    Result<Span> in(std::string_view text, std::uint64_t hva, std::uint64_t length) {
        maps_ = parse_process_maps(text).value();
        return locate(maps_, hva, length);
    }
    std::vector<MapsLine> maps_;
};

TEST_F(Locate, JoinsPartsSplitByMadvise) {
    auto span = in("1000-3000 rw-s 00001000 00:01 77 /memfd:m (deleted)\n"
                   "3000-9000 rw-s 00003000 00:01 77 /memfd:m (deleted)\n",
                   0x2000, 0x4000);
    ASSERT_TRUE(span);
    EXPECT_EQ(span->backing, Backing::file);
    EXPECT_EQ(span->file_offset, 0x2000u);
    EXPECT_EQ(span->first->path, "/memfd:m (deleted)");
}

TEST_F(Locate, PrivateOrForeignPartsAreNoFile) {
    EXPECT_EQ(in("1000-3000 rw-p 00000000 00:00 0 \n", 0x1000, 0x1000)->backing,
              Backing::anonymous);
    EXPECT_EQ(in("1000-3000 rw-p 00000000 00:01 77 /x\n", 0x1000, 0x1000)->backing,
              Backing::private_file);
    EXPECT_EQ(in("1000-2000 rw-p 00000000 00:00 0 \n2000-3000 rw-p 00000000 00:01 77 /x\n", 0x1000,
                 0x2000)
                  ->backing,
              Backing::private_file);
    EXPECT_EQ(in("1000-2000 rw-s 00000000 00:01 77 /x\n2000-3000 rw-s 00005000 00:01 77 /x\n",
                 0x1000, 0x2000)
                  ->backing,
              Backing::private_file);
    EXPECT_EQ(in("1000-2000 rw-s 00000000 00:01 77 /x\n2000-3000 rw-s 00001000 00:01 78 /x\n",
                 0x1000, 0x2000)
                  ->backing,
              Backing::private_file);
}

TEST_F(Locate, RefusesHoles) {
    EXPECT_FALSE(in("1000-2000 rw-s 00000000 00:01 77 /x\n", 0x3000, 0x1000));
    EXPECT_FALSE(in("1000-2000 rw-s 00000000 00:01 77 /x\n", 0x1000, 0x2000));
    EXPECT_FALSE(in("1000-2000 rw-s 00000000 00:01 77 /x\n3000-4000 rw-s 00002000 00:01 77 /x\n",
                    0x1000, 0x3000));
}

TEST(ParseProcessMaps, RealLinesAndMalformedOnes) {
    auto maps = parse_process_maps("7f1-7f2 rw-s 00000000 00:01 1045       /dev/zero (deleted)\n"
                                   "55d0-55d1 r-xp 0003 fd:10 12 /usr/bin/a b\n"
                                   "7ffc0-7ffc1 rw-p 00000000 00:00 0 ");
    ASSERT_TRUE(maps) << maps.error().message;
    EXPECT_TRUE(maps->at(0).shared);
    EXPECT_EQ(maps->at(0).path, "/dev/zero (deleted)");
    EXPECT_EQ(maps->at(1).path, "/usr/bin/a b");
    EXPECT_EQ(maps->at(2).inode, 0u);
    for (const char* bad : {"x", "10-5 rw-p 0 00:00 0", "10-50 rw-p zz 00:00 0", "10-50 rw-p"})
        EXPECT_FALSE(parse_process_maps(bad)) << bad;
}

TEST(Backends, AreCountedByQueues) {
    const auto backends =
        parse_backends("net0: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:00:00:01\r\n"
                       " \\ hn0: index=0,type=tap,fd=34\r\n"
                       "net0: index=1,type=nic,model=virtio-net-pci\r\n"
                       " \\ hn0: index=1,type=tap,fd=35\r\n"
                       "net1: index=0,type=nic,model=e1000,macaddr=52:54:00:00:00:02\r\n"
                       " \\ u: index=0,type=user,net=10.0.2.0,restrict=off\r\n"
                       "nonsense\r\n \\ more\r\n");
    ASSERT_EQ(backends.size(), 2U);
    EXPECT_EQ(backends.at("hn0").type, "tap");
    EXPECT_EQ(backends.at("hn0").queues, 2U);
    EXPECT_EQ(backends.at("u").type, "user");
}

}  // namespace
}  // namespace gc::qmp
