// SPDX-License-Identifier: GPL-2.0-or-later
#include "../tls/authority.h"
#include "doctor/checks.h"

#include <filesystem>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gc::doctor {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;
using tls::Authority;
using tls::Purpose;
using tls::TemporaryDirectory;

class DoctorTls : public testing::Test {
  protected:
    /// Certificates of both roles in a directory of the fake host.
    void put_credentials(const std::string& directory, const Authority& authority, int days) {
        root_.write(directory + "/ca-cert.pem", authority.certificate());
        for (const auto& [role, purpose] :
             {std::pair("server", Purpose::server), std::pair("client", Purpose::client)}) {
            const auto issued =
                authority.issue({.common_name = role, .purpose = purpose, .valid_days = days});
            const std::string stem = directory + "/" + role;
            root_.write(stem + "-cert.pem", issued.certificate);
            root_.write(stem + "-key.pem", issued.key);
            std::filesystem::permissions(root_.path(stem + "-key.pem"),
                                         std::filesystem::perms::owner_all);
        }
    }
    [[nodiscard]] Host host() const { return Host(root_.path()); }

    TemporaryDirectory root_;
};

TEST_F(DoctorTls, CredentialsInTheDefaultDirectories) {
    auto check = check_tls_credentials(host(), Role::both);
    EXPECT_EQ(check.verdict, Verdict::warning);
    EXPECT_EQ(check.found, "neither /etc/pki/qemu nor /etc/pki/libvirt exists");
    EXPECT_THAT(check.remedy, HasSubstr("docs/operations/tls.md"));

    const Authority authority("Test CA", 400);
    put_credentials("etc/pki/qemu", authority, 300);
    check = check_tls_credentials(host(), Role::both);
    EXPECT_EQ(check.verdict, Verdict::ok);
    EXPECT_THAT(check.found, MatchesRegex("/etc/pki/qemu, valid until 20..-..-.."));
}

TEST_F(DoctorTls, CredentialsThatEndSoon) {
    put_credentials("etc/pki/qemu", Authority("Test CA", 400), 20);
    const auto check = check_tls_credentials(host(), Role::both);
    EXPECT_EQ(check.verdict, Verdict::warning);
    EXPECT_THAT(check.remedy, HasSubstr("renew the certificate"));
}

TEST_F(DoctorTls, OnlyTheFilesOfTheRoleCount) {
    put_credentials("etc/pki/qemu", Authority("Test CA", 400), 300);
    std::filesystem::remove(root_.path("etc/pki/qemu/server-cert.pem"));
    EXPECT_EQ(check_tls_credentials(host(), Role::source).verdict, Verdict::ok);
    const auto check = check_tls_credentials(host(), Role::destination);
    EXPECT_EQ(check.verdict, Verdict::warning);
    EXPECT_THAT(check.found, HasSubstr("server-cert.pem: No such file"));
}

TEST_F(DoctorTls, AKeyThatEverybodyCanRead) {
    put_credentials("etc/pki/qemu", Authority("Test CA", 400), 300);
    std::filesystem::permissions(root_.path("etc/pki/qemu/client-key.pem"),
                                 std::filesystem::perms::others_read,
                                 std::filesystem::perm_options::add);
    const auto check = check_tls_credentials(host(), Role::source);
    EXPECT_EQ(check.verdict, Verdict::warning);
    EXPECT_THAT(check.found, HasSubstr("every user can read this key (chmod o-r "));
}

TEST_F(DoctorTls, KernelTls) {
    root_.write("proc/sys/kernel/osrelease", "6.1.0-56-amd64\n");
    auto check = check_kernel_tls(host());
    EXPECT_EQ(check.verdict, Verdict::warning);
    EXPECT_THAT(check.found, HasSubstr("no module tls"));
    root_.write("lib/modules/6.1.0-56-amd64/modules.dep", "kernel/net/tls/tls.ko:\n");
    check = check_kernel_tls(host());
    EXPECT_EQ(check.verdict, Verdict::warning);
    EXPECT_EQ(check.remedy, "modprobe tls");
    root_.write("proc/self/status", "CapEff:\t0000000000001000\n");
    EXPECT_EQ(check_kernel_tls(host()).verdict, Verdict::ok);
    root_.write("sys/module/tls/refcnt", "0\n");
    EXPECT_THAT(check_kernel_tls(host()).found, HasSubstr("the kernel encrypts"));
}

}  // namespace
}  // namespace gc::doctor
