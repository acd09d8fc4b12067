// SPDX-License-Identifier: GPL-2.0-or-later
#include "tls/credentials.h"

#include "authority.h"

#include <gmock/gmock.h>
#include <gnutls/x509.h>
#include <gtest/gtest.h>

namespace gc::tls {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const Authority& authority() {
    static const Authority instance("Test CA");
    return instance;
}

Options from(const TemporaryDirectory& directory) {
    Options options;
    options.creds_dir = directory.path();
    return options;
}

/// The error of loading credentials of a role.
std::string refusal(const TemporaryDirectory& directory, Role role = Role::server) {
    const auto loaded = Credentials::load(from(directory), role);
    return loaded ? "accepted" : loaded.error().message;
}

TEST(TlsCredentials, LoadsQemusFileNames) {
    const TemporaryDirectory directory;
    write_role(directory, authority(), "server", authority().issue({"a.example", Purpose::server}));
    write_role(directory, authority(), "client", authority().issue({"b.example", Purpose::client}));
    const auto server = Credentials::load(from(directory), Role::server);
    ASSERT_TRUE(server) << server.error().message;
    EXPECT_THAT(server->describe(), HasSubstr("certificate O=Example,CN=a.example in "));
    EXPECT_FALSE(server->uses_psk());
    EXPECT_GT(server->valid_until().value(), std::time(nullptr));
    const auto client = Credentials::load(from(directory), Role::client);
    ASSERT_TRUE(client) << client.error().message;
    EXPECT_THAT(client->describe(), HasSubstr("CN=b.example"));
}

TEST(TlsCredentials, LoadsLibvirtsFileNames) {
    const TemporaryDirectory directory;
    const Issued server = authority().issue({"a.example", Purpose::server});
    directory.write("CA/cacert.pem", authority().certificate());
    directory.write("libvirt/servercert.pem", server.certificate);
    directory.write("libvirt/private/serverkey.pem", server.key);
    Options options;
    options.creds_dir = directory.path("libvirt");
    const auto loaded = Credentials::load(options, Role::server);
    EXPECT_TRUE(loaded) << loaded.error().message;
}

TEST(TlsCredentials, LoadsLibvirtsSingleDirectory) {
    const TemporaryDirectory directory;
    const Issued client = authority().issue({"b.example", Purpose::client});
    directory.write("cacert.pem", authority().certificate());
    directory.write("clientcert.pem", client.certificate);
    directory.write("clientkey.pem", client.key);
    const auto loaded = Credentials::load(from(directory), Role::client);
    EXPECT_TRUE(loaded) << loaded.error().message;
}

TEST(TlsCredentials, NamesTheMissingFile) {
    const TemporaryDirectory directory;
    EXPECT_THAT(refusal(directory),
                AllOf(HasSubstr("ca-cert.pem: No such file"), HasSubstr("docs/operations/tls.md")));
    directory.write("ca-cert.pem", authority().certificate());
    EXPECT_THAT(refusal(directory), HasSubstr("server-cert.pem: No such file"));
    directory.write("server-cert.pem", authority().issue({"a"}).certificate);
    EXPECT_THAT(refusal(directory), HasSubstr("server-key.pem: No such file"));
}

TEST(TlsCredentials, RefusesWhatIsNotPem) {
    const TemporaryDirectory directory;
    write_role(directory, authority(), "server", {"garbage", "garbage"});
    EXPECT_THAT(refusal(directory),
                HasSubstr("server-cert.pem: expected certificates in PEM form"));
    write_role(directory, authority(), "server", {authority().issue({"a"}).certificate, "garbage"});
    EXPECT_THAT(refusal(directory),
                HasSubstr("server-key.pem: expected a private key in PEM form"));
    directory.write("ca-crl.pem", "garbage");
    EXPECT_THAT(refusal(directory),
                HasSubstr("ca-crl.pem: expected a revocation list in PEM form"));
}

struct Unfit {
    Subject subject;
    std::string message;
};

class UnfitCertificate : public testing::TestWithParam<Unfit> {};

TEST_P(UnfitCertificate, IsRefusedWithItsReason) {
    const TemporaryDirectory directory;
    write_role(directory, authority(), "server", authority().issue(GetParam().subject));
    EXPECT_THAT(refusal(directory), AllOf(HasSubstr("server-cert.pem: the certificate of O=Example,"
                                                    "CN=a"),
                                          HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    TlsCredentials, UnfitCertificate,
    testing::Values(Unfit{{.common_name = "a", .valid_from_days = -9, .valid_days = -1},
                          " expired on 20"},
                    Unfit{{.common_name = "a", .valid_from_days = 2}, " is valid from 20"},
                    Unfit{{.common_name = "a", .purpose = Purpose::client},
                          "is not made for a TLS server (certtool: tls_www_server)"},
                    Unfit{{.common_name = "a", .authority = true}, "is one of a CA"},
                    Unfit{{.common_name = "a", .usage = GNUTLS_KEY_KEY_ENCIPHERMENT},
                          "does not permit digital signatures"}));

TEST(TlsCredentials, RefusesTheKeyOfAnother) {
    const TemporaryDirectory directory;
    write_role(directory, authority(), "server",
               {authority().issue({"a"}).certificate, authority().issue({"b"}).key});
    EXPECT_THAT(refusal(directory),
                HasSubstr("server-key.pem: this is not the key of the certificate in "));
}

TEST(TlsCredentials, RefusesACertificateOfAnotherAuthority) {
    const TemporaryDirectory directory;
    write_role(directory, authority(), "server", Authority("Other CA").issue({"a"}));
    EXPECT_THAT(refusal(directory), HasSubstr("the certificate is not signed by a CA in "));
}

TEST(TlsCredentials, RefusesAnExpiredAuthority) {
    const TemporaryDirectory directory;
    const Authority old("Old CA", -1);
    write_role(directory, old, "server", old.issue({"a"}));
    EXPECT_THAT(refusal(directory),
                HasSubstr("ca-cert.pem: the certificate of O=Example,CN=Old CA expired on "));
}

TEST(TlsCredentials, RefusesAHostAsAuthority) {
    const TemporaryDirectory directory;
    write_role(directory, authority(), "server", authority().issue({"a"}));
    directory.write("ca-cert.pem", authority().issue({"host"}).certificate);
    EXPECT_THAT(refusal(directory), HasSubstr("CN=host is not one of a CA"));
}

TEST(TlsCredentials, RefusesItsOwnRevokedCertificate) {
    const TemporaryDirectory directory;
    const Issued issued = authority().issue({"a"});
    write_role(directory, authority(), "server", issued);
    directory.write("ca-crl.pem", authority().revoke({issued.certificate}));
    EXPECT_THAT(refusal(directory), HasSubstr("revoked"));
}

TEST(TlsCredentials, SaysWhereItLooked) {
    if (std::filesystem::exists("/etc/pki/qemu") || std::filesystem::exists("/etc/pki/libvirt"))
        GTEST_SKIP() << "this host has credentials";
    const auto loaded = Credentials::load({}, Role::client);
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().kind, ErrorKind::unsupported);
    EXPECT_THAT(loaded.error().message, HasSubstr("neither /etc/pki/qemu nor /etc/pki/libvirt"));
}

// Pre-shared keys.

constexpr const char* hex = "000102030405060708090a0b0c0d0e0f";

Result<Credentials> load_keys(const std::string& text, Role role,
                              const std::string& identity = {}) {
    const TemporaryDirectory directory;
    directory.write("keys.psk", text);
    Options options;
    options.psk_file = directory.path("keys.psk");
    options.psk_identity = identity;
    return Credentials::load(options, role);
}

std::string key_refusal(const std::string& text, Role role, const std::string& identity = {}) {
    const auto loaded = load_keys(text, role, identity);
    return loaded ? "accepted" : loaded.error().message;
}

TEST(TlsPsk, LoadsQemusFile) {
    EXPECT_TRUE(load_keys(fmt::format("qemu:{}\n", hex), Role::client));
    EXPECT_TRUE(load_keys(fmt::format("qemu:{0}\r\n\nother:{0}", hex), Role::server));
    EXPECT_TRUE(load_keys(fmt::format("qemu:{0}\nother:{0}\n", hex), Role::client, "other"));
    EXPECT_TRUE(load_keys(fmt::format("qemu:{0}\n", hex), Role::client)->uses_psk());
}

TEST(TlsPsk, NamesTheInvalidLine) {
    EXPECT_THAT(key_refusal(fmt::format("qemu:{}\nrubbish\n", hex), Role::server),
                HasSubstr("keys.psk:2: expected IDENTITY:KEY"));
    EXPECT_THAT(key_refusal("qemu:0g\n", Role::server), HasSubstr("keys.psk:1: invalid key"));
    EXPECT_THAT(key_refusal("qemu:001\n", Role::server), HasSubstr("keys.psk:1: invalid key"));
    EXPECT_THAT(key_refusal("qemu:0011\n", Role::server),
                HasSubstr("the key has 2 bytes (expected at least 16)"));
    EXPECT_THAT(key_refusal(fmt::format(":{}\n", hex), Role::server), HasSubstr("IDENTITY:KEY"));
    EXPECT_THAT(key_refusal("\n", Role::server), HasSubstr("contains no key"));
}

TEST(TlsPsk, NamesTheMissingIdentity) {
    EXPECT_THAT(key_refusal(fmt::format("other:{}\n", hex), Role::client),
                AllOf(HasSubstr("contains no key of 'qemu'"), HasSubstr("psktool -u qemu -p ")));
}

TEST(TlsPsk, ExcludesCertificates) {
    Options options;
    options.psk_file = "keys.psk";
    options.creds_dir = "/etc/pki/qemu";
    EXPECT_EQ(Credentials::load(options, Role::client).error().kind, ErrorKind::usage);
}

TEST(TlsPsk, LimitsTheIdentity) {
    EXPECT_FALSE(Credentials::one_time("", {}));
    EXPECT_FALSE(Credentials::one_time(std::string(129, 'x'), {}));
    EXPECT_TRUE(Credentials::one_time(std::string(128, 'x'), {}));
}

TEST(TlsMatches, PatternsOfNames) {
    EXPECT_TRUE(matches("O=Example,CN=a", "O=Example,CN=a"));
    EXPECT_TRUE(matches("*", ""));
    EXPECT_TRUE(matches("O=Example,CN=*.example", "O=Example,CN=a.b.example"));
    EXPECT_TRUE(matches("O=*,CN=a?", "O=Example,CN=ab"));
    EXPECT_TRUE(matches("*a*b*", "xxaxxbxx"));
    EXPECT_FALSE(matches("O=Example", "O=Example,CN=a")) << "the whole name must match";
    EXPECT_FALSE(matches("CN=a", "O=Example,CN=a"));
    EXPECT_FALSE(matches("CN=a?", "CN=a"));
    EXPECT_FALSE(matches("", "CN=a"));
    EXPECT_FALSE(matches("CN=[ab]", "CN=a")) << "brackets mean themselves";
}

}  // namespace
}  // namespace gc::tls
