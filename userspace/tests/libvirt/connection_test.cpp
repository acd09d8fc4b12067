// SPDX-License-Identifier: GPL-2.0-or-later
#include "libvirt/connection.h"

#include <gtest/gtest.h>

namespace gc::libvirt {
namespace {

// As libvirt 9.0 says it.
std::string capabilities(const std::string& label) {
    return "<capabilities><host><secmodel><model>apparmor</model><doi>0</doi></secmodel>"
           "<secmodel>\n<model>dac</model>\n<doi>0</doi>\n" +
           label + "</secmodel></host></capabilities>";
}

TEST(LibvirtQemuUser, IsOfTheModelDac) {
    const auto user = parse_qemu_user(capabilities(
        "<baselabel type='kvm'>+64055:+108</baselabel><baselabel type='qemu'>+1:+2</baselabel>"));
    ASSERT_TRUE(user);
    EXPECT_EQ(user->uid, 64055U);
    EXPECT_EQ(user->gid, 108U);
}

TEST(LibvirtQemuUser, IsQemusWhereThereIsNoKvm) {
    const auto user = parse_qemu_user(capabilities("<baselabel type='qemu'>+0:+0</baselabel>"));
    ASSERT_TRUE(user);
    EXPECT_EQ(user->uid, 0U);
}

TEST(LibvirtQemuUser, IsUnknownWhereTheLabelIsNotOfThatForm) {
    for (const char* label :
         {"", "<baselabel type='kvm'>", "<baselabel type='kvm'></baselabel>",
          "<baselabel type='kvm'>+1</baselabel>", "<baselabel type='kvm'>+1:+</baselabel>",
          "<baselabel type='kvm'>qemu:kvm</baselabel>", "<baselabel type='kvm'>+-1:+1</baselabel>",
          "<baselabel type='kvm'>+99999999999:+1</baselabel>"})
        EXPECT_FALSE(parse_qemu_user(capabilities(label))) << label;
    EXPECT_FALSE(parse_qemu_user("<model>dac</model>"));
    EXPECT_FALSE(parse_qemu_user(""));
}

TEST(LibvirtConnection, SaysThatNobodyAnswers) {
    const auto connection = Connection::open("qemu+unix:///system?socket=/nonexistent/libvirt");
    ASSERT_FALSE(connection);
    EXPECT_EQ(connection.error().kind, ErrorKind::unsupported);
    // Where libvirt's libraries are not installed, it says that.
    EXPECT_NE(connection.error().message.find("libvirt"), std::string::npos);
}

}  // namespace
}  // namespace gc::libvirt
