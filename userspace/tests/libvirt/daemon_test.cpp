// SPDX-License-Identifier: GPL-2.0-or-later
#include "libvirt/daemon.h"

#include "util/fd.h"
#include "util/whole_file.h"

#include <cstring>
#include <filesystem>
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace gc::libvirt {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr const char* uuid = "3e1b5b0a-7c0d-4a39-9c5e-1a2b3c4d5e6f";

// As libvirt 9.0 writes it, shortened.
std::string status(const std::string& monitor, const std::string& job) {
    return "<!-- WARNING: THIS IS AN AUTO-GENERATED FILE. -->\n"
           "<domstatus state='paused' reason='post-copy failed' pid='4711'>\n  " +
           monitor + "\n  " + job +
           "\n  <domain type='kvm' id='1'>\n    <name>web &amp; co</name>\n    <uuid>" + uuid +
           "</uuid>\n  </domain>\n</domstatus>\n";
}

const std::string monitor = "<monitor path='/var/lib/libvirt/qemu/domain-1-web/monitor.sock' "
                            "type='unix'/>";
const std::string migration = "<job type='none' async='migration out' phase='perform3_done' "
                              "flags='0x0'><disk dev='vda'/></job>";

class LibvirtDaemon : public testing::Test {
  protected:
    void SetUp() override {
        std::filesystem::remove_all(directory);
        std::filesystem::create_directories(directory + "/qemu");
    }
    void TearDown() override { std::filesystem::remove_all(directory); }

    void write(const std::string& text) const {
        ASSERT_TRUE(write_whole_file(file, text));
        ASSERT_TRUE(write_whole_file(directory + "/qemu/other.xml", "<domstatus/>"));
        ASSERT_TRUE(write_whole_file(directory + "/qemu/broken.xml", "<domstatus"));
    }

    /// A daemon that answers, until its end.
    [[nodiscard]] UniqueFd answer(const std::string& name) const {
        UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, (directory + "/" + name).c_str(),
                     sizeof address.sun_path - 1);
        const auto* any = reinterpret_cast<const sockaddr*>(&address);
        EXPECT_EQ(::bind(listener.get(), any, sizeof address), 0);
        EXPECT_EQ(::listen(listener.get(), 1), 0);
        return listener;
    }

    const std::string directory = testing::TempDir() + "/libvirt-" + std::to_string(::getpid());
    const std::string file = directory + "/qemu/web.xml";
};

TEST_F(LibvirtDaemon, HasLeftTheMonitorOfADomain) {
    write(status(monitor, migration));
    for (const char* named : {"web & co", uuid}) {
        const auto found = DomainStatus::find(named, directory);
        ASSERT_TRUE(found) << found.error().message;
        EXPECT_EQ(found->monitor(), "/var/lib/libvirt/qemu/domain-1-web/monitor.sock");
    }
}

TEST_F(LibvirtDaemon, KnowsNoOtherDomains) {
    write(status(monitor, migration));
    for (const char* named : {"", "web", "../qemu/web", "3e1b5b0a"}) {
        const auto found = DomainStatus::find(named, directory);
        ASSERT_FALSE(found) << named;
        EXPECT_EQ(found.error().kind, ErrorKind::unsupported);
    }
    EXPECT_FALSE(DomainStatus::find("web & co", directory + "/nonexistent"));
}

TEST_F(LibvirtDaemon, HasLeftNothingOfUseWithoutAMonitor) {
    for (const char* wrong :
         {"", "<monitor/>", "<monitor path='' type='unix'/>", "<monitor path='4' type='pty'/>"}) {
        write(status(wrong, migration));
        const auto found = DomainStatus::find(uuid, directory);
        ASSERT_FALSE(found) << wrong;
        EXPECT_EQ(found.error().kind, ErrorKind::protocol);
    }
}

TEST_F(LibvirtDaemon, ForgetsAMigration) {
    write(status(monitor, migration));
    ASSERT_TRUE(DomainStatus::find(uuid, directory).value().remove_migration());
    const std::string text = read_whole_file(file).value();
    EXPECT_THAT(text, Not(HasSubstr("job")));
    EXPECT_THAT(text, HasSubstr("monitor.sock"));
    EXPECT_THAT(text, HasSubstr("<name>web &amp; co</name>"));
    EXPECT_TRUE(DomainStatus::find(uuid, directory).value().remove_migration()) << "again";
    EXPECT_EQ(read_whole_file(file).value(), text);
}

TEST_F(LibvirtDaemon, KeepsAnotherJob) {
    const std::string text = status(monitor, "<job type='none' async='backup' phase='none'/>");
    write(text);
    ASSERT_TRUE(DomainStatus::find(uuid, directory).value().remove_migration());
    EXPECT_EQ(read_whole_file(file).value(), text);
}

TEST_F(LibvirtDaemon, IsToBeStoppedFirst) {
    EXPECT_TRUE(check_no_daemon(directory));
    EXPECT_THAT(take_back_lines("a b", "never-ran:0123456789abcdef", directory),
                ElementsAre("systemctl stop 'libvirtd*'",
                            "gcctl take-back --domain 'a b' --verdict never-ran:0123456789abcdef",
                            "systemctl start libvirtd"));
    {
        const UniqueFd daemon = answer("virtqemud-sock");
        const auto checked = check_no_daemon(directory);
        ASSERT_FALSE(checked);
        EXPECT_THAT(checked.error().message, HasSubstr("systemctl stop 'virtqemud*'"));
    }
    EXPECT_TRUE(check_no_daemon(directory)) << "a socket that nobody listens on";
    EXPECT_THAT(take_back_lines("web", "", directory),
                ElementsAre("systemctl stop 'virtqemud*'", "gcctl take-back --domain web",
                            "systemctl start virtqemud"));
    const UniqueFd daemon = answer("libvirt-sock");
    EXPECT_FALSE(check_no_daemon(directory));
}

}  // namespace
}  // namespace gc::libvirt
