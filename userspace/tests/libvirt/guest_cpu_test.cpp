// SPDX-License-Identifier: GPL-2.0-or-later
#include "libvirt/guest_cpu.h"

#include "libvirt/connection.h"

#include <gtest/gtest.h>

namespace gc::libvirt {
namespace {

// As libvirt 9.0 formats it.
std::string domain(const std::string& cpu) {
    return "<domain type='kvm' id='3'>\n"
           "  <name>vm</name>\n"
           "  <metadata>\n"
           "    <other:cpu xmlns:other=\"urn:other\"/>\n"
           "    <cpu mode='wrong'/>\n"
           "  </metadata>\n"
           "  <vcpu placement='static'>1</vcpu>\n"
           "  <cputune>\n    <shares>2048</shares>\n  </cputune>\n"
           "  <os>\n    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>\n  </os>\n" +
           cpu +
           "  <devices>\n    <emulator>/usr/bin/qemu-system-x86_64</emulator>\n  </devices>\n"
           "</domain>\n";
}

TEST(LibvirtGuestCpu, IsFoundInTheDescription) {
    const std::string element = R"(<cpu mode="custom" match="exact" check="full">)"
                                R"(<model fallback="forbid">qemu64</model></cpu>)";
    const GuestCpu cpu = parse_guest_cpu(domain("  " + element + "\n"));
    EXPECT_EQ(cpu.type, "kvm");
    EXPECT_EQ(cpu.arch, "x86_64");
    EXPECT_EQ(cpu.machine, "pc-q35-7.2");
    EXPECT_EQ(cpu.emulator, "/usr/bin/qemu-system-x86_64");
    EXPECT_EQ(cpu.cpu, element);
    EXPECT_FALSE(cpu.of_host);
}

TEST(LibvirtGuestCpu, MayBeThatOfTheHost) {
    for (const char* mode : {"host-passthrough", "maximum"}) {
        const std::string element = fmt::format(R"(<cpu mode="{}" check="none"/>)", mode);
        const GuestCpu cpu = parse_guest_cpu(domain("  " + element + "\n"));
        EXPECT_EQ(cpu.cpu, element);
        EXPECT_TRUE(cpu.of_host);
    }
}

TEST(LibvirtGuestCpu, IsTheSameOnEachHostIfQemuEmulatesAllOfIt) {
    std::string text = domain("  <cpu mode='maximum' check='none'/>\n");
    text.replace(text.find("kvm"), 3, "qemu");
    const GuestCpu cpu = parse_guest_cpu(text);
    EXPECT_EQ(cpu.type, "qemu");
    EXPECT_EQ(cpu.cpu, "");
    EXPECT_FALSE(cpu.of_host);
}

TEST(LibvirtGuestCpu, MayBeThatOfTheMachine) {
    const GuestCpu cpu = parse_guest_cpu(domain(""));
    EXPECT_EQ(cpu.cpu, "");
    EXPECT_FALSE(cpu.of_host);
    EXPECT_EQ(cpu.arch, "x86_64");
}

TEST(LibvirtGuestCpu, IsNoneInADescriptionOfAnotherForm) {
    for (const char* text : {"", "<domain", "<domain type='kvm'>", "<domain><cpu", "<cpu/>",
                             "<domain><cpu></domain>", "<capabilities><cpu/></capabilities>"})
        EXPECT_EQ(parse_guest_cpu(text).cpu, "") << text;
}

TEST(LibvirtHostCpu, IsThatOfTheHostNotOfItsGuests) {
    EXPECT_EQ(parse_host_cpu("<capabilities>\n  <host>\n    <cpu>\n      <model>EPYC</model>\n"
                             "    </cpu>\n  </host>\n  <guest><cpu>x</cpu></guest></capabilities>"),
              "<cpu><model>EPYC</model></cpu>");
    EXPECT_EQ(parse_host_cpu("<capabilities><guest><cpu>x</cpu></guest></capabilities>"), "");
    EXPECT_EQ(parse_host_cpu(""), "");
}

}  // namespace
}  // namespace gc::libvirt
