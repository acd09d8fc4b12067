// SPDX-License-Identifier: GPL-2.0-or-later
// Devices are plugged into and out of a real QEMU, which is paused, under TCG.
#include "guide/hotplug.h"

#include "../qmp/paused_qemu.h"

#include <cstdlib>
#include <gmock/gmock.h>
#include <memory>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace gc::guide {
namespace {

using nlohmann::json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::vector<std::string> machine{"-machine", "q35",
                                       "-m",       "64M,slots=2,maxmem=1G",
                                       "-device",  "pcie-root-port,id=p1,chassis=1",
                                       "-device",  "pcie-root-port,id=p2,chassis=2",
                                       "-device",  "pcie-root-port,id=p3,chassis=3",
                                       "-device",  "virtio-rng-pci,id=rng,bus=p3"};

std::vector<std::string> argv() {
    std::vector<std::string> all{"qemu-system-x86_64"};
    all.insert(all.end(), machine.begin(), machine.end());
    return all;
}

void do_it(qmp::Client& qmp, std::string_view command, json arguments) {
    const auto done = qmp.execute(command, std::move(arguments));
    ASSERT_TRUE(done) << done.error().message;
}

/// The value of the only option of that name.
json option_of(const GuideSubstitutes& known, const std::string& option, const std::string& id) {
    for (std::size_t i = 0; i + 1 < known.plugged.size(); i += 2)
        if (known.plugged[i] == option)
            if (const json value = json::parse(known.plugged[i + 1], nullptr, false);
                value.is_object() && value["id"] == id)
                return value;
    return {};
}

TEST(Plugged, NothingWas) {
    qmp::PausedQemu qemu(machine);
    auto source = qemu.connect();
    GuideSubstitutes known;
    ASSERT_TRUE(find_plugged(source, argv(), known));
    EXPECT_THAT(known.plugged, IsEmpty());
    EXPECT_THAT(known.unplugged, IsEmpty());
}

TEST(Plugged, ADiskANicAndAController) {
    char image[] = "/tmp/gc-hotplug-XXXXXX";
    const UniqueFd file(::mkstemp(image));
    ASSERT_EQ(::ftruncate(file.get(), 1 << 20), 0);
    auto qemu = std::make_unique<qmp::PausedQemu>(machine);
    auto source = qemu->connect();
    do_it(source, "blockdev-add",
          {{"driver", "raw"},
           {"node-name", "disk"},
           {"file", {{"driver", "file"}, {"filename", image}}}});
    do_it(source, "device_add", {{"driver", "virtio-scsi-pci"}, {"id", "zcsi"}, {"bus", "p1"}});
    do_it(source, "device_add",
          {{"driver", "scsi-hd"}, {"id", "a"}, {"bus", "zcsi.0"}, {"lun", 3}, {"drive", "disk"}});
    do_it(source, "netdev_add", {{"type", "user"}, {"id", "net"}});
    do_it(source, "device_add",
          {{"driver", "virtio-net-pci"},
           {"id", "nic"},
           {"bus", "p2"},
           {"netdev", "net"},
           {"mac", "52:54:00:00:00:07"}});

    GuideSubstitutes known;
    const auto found = find_plugged(source, argv(), known);
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_THAT(known.unplugged, IsEmpty());
    std::vector<std::string> options;
    for (std::size_t i = 0; i < known.plugged.size(); i += 2)
        options.push_back(known.plugged[i]);
    // The controller comes before what is on it, and each back end before its device.
    EXPECT_THAT(options, ElementsAre("-netdev", "-device", "-device", "-drive", "-device"));
    EXPECT_THAT(known.plugged, Contains("user,id=net"));
    EXPECT_THAT(known.plugged, Contains(fmt::format("if=none,id=disk,file={},format=raw", image)));
    const json disk = option_of(known, "-device", "a");
    EXPECT_EQ(disk["driver"], "scsi-hd");
    EXPECT_EQ(disk["bus"], "zcsi.0");
    EXPECT_EQ(disk["lun"], 3);
    EXPECT_EQ(disk["drive"], "disk");
    const json nic = option_of(known, "-device", "nic");
    EXPECT_EQ(nic["bus"], "p2");
    EXPECT_EQ(nic["mac"], "52:54:00:00:00:07");
    EXPECT_EQ(nic["netdev"], "net");
    EXPECT_EQ(nic["addr"], "0.0");
    EXPECT_EQ(option_of(known, "-device", "zcsi")["driver"], "virtio-scsi-pci");

    // What it says is a command line that QEMU takes. The image is locked until the first one ends.
    qemu.reset();
    std::vector<std::string> again = machine;
    again.insert(again.end(), known.plugged.begin(), known.plugged.end());
    qmp::PausedQemu other(again);
    auto copy = other.connect();
    GuideSubstitutes of_copy;
    std::vector<std::string> of_copy_argv{"qemu-system-x86_64"};
    of_copy_argv.insert(of_copy_argv.end(), again.begin(), again.end());
    ASSERT_TRUE(find_plugged(copy, of_copy_argv, of_copy));
    EXPECT_THAT(of_copy.plugged, IsEmpty());
    EXPECT_THAT(of_copy.unplugged, IsEmpty());
    ::unlink(image);
}

TEST(Plugged, AMemoryModule) {
    qmp::PausedQemu qemu(machine);
    auto source = qemu.connect();
    do_it(source, "object-add",
          {{"qom-type", "memory-backend-ram"}, {"id", "m"}, {"size", 32 << 20}});
    do_it(source, "device_add", {{"driver", "pc-dimm"}, {"id", "d"}, {"memdev", "m"}});
    GuideSubstitutes known;
    known.memory["pc.ram"] = {"", 64 << 20};
    known.memory["m"] = {"", 32 << 20};
    const auto found = find_plugged(source, argv(), known);
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_THAT(known.plugged, Contains("memory-backend-ram,id=m,size=33554432"));
    const json dimm = option_of(known, "-device", "d");
    EXPECT_EQ(dimm["memdev"], "m");
    EXPECT_EQ(dimm["addr"], std::uint64_t{1} << 32);
    EXPECT_FALSE(dimm.contains("size")) << "it cannot be set";
    const auto line = derive_guide_command_line(argv(), known);
    ASSERT_TRUE(line) << line.error().message;
    EXPECT_THAT(line->argv, Contains(HasSubstr("memory-backend=pc.ram")));
}

TEST(Plugged, ADeviceThatWasUnplugged) {
    const std::vector<std::string> usb{"-machine",  "pc",          "-device",
                                       "qemu-xhci", "-device",     "usb-tablet,id=t",
                                       "-device",   "usb-kbd,id=k"};
    qmp::PausedQemu qemu(usb);
    auto source = qemu.connect();
    do_it(source, "device_del", {{"id", "t"}});  // at once: no guest is asked
    GuideSubstitutes known;
    std::vector<std::string> all{"qemu-system-x86_64"};
    all.insert(all.end(), usb.begin(), usb.end());
    ASSERT_TRUE(find_plugged(source, all, known));
    EXPECT_THAT(known.unplugged, ElementsAre("t"));
    EXPECT_THAT(known.plugged, IsEmpty());
}

}  // namespace
}  // namespace gc::guide
