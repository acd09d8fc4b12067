// SPDX-License-Identifier: GPL-2.0-or-later
#include "session_pair.h"
#include "tls/gnutls.h"

#include <algorithm>
#include <array>
#include <future>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string_view>
#include <sys/socket.h>

namespace gc::tls {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;

std::string error_of(const Result<Session>& session) {
    return session ? "accepted" : session.error().message;
}

Key key_of(unsigned char byte) {
    Key key;
    key.fill(std::byte{byte});
    return key;
}

Credentials one_time(const std::string& identity, unsigned char byte) {
    return Credentials::one_time(identity, key_of(byte)).value();
}

/// An end of GnuTLS alone, which does whatever a test wants.
class Stranger {
  public:
    Stranger(int fd, unsigned role, const char* priorities) {
        gnutls_session_t session = nullptr;
        gnutls_init(&session, role | GNUTLS_NO_SIGNAL);
        handle_.reset(session);
        gnutls_priority_set_direct(session, priorities, nullptr);
        gnutls_transport_set_int(session, fd);
        gnutls_handshake_set_timeout(session, 10'000);
        gnutls_certificate_credentials_t credentials = nullptr;
        gnutls_certificate_allocate_credentials(&credentials);
        credentials_.reset(credentials);
        gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
    }
    void speak_guidecopy() {
        const gnutls_datum_t name = datum_of("guidecopy");
        gnutls_alpn_set_protocols(handle_.get(), &name, 1, 0);
    }
    void use_certificate(const std::string& certificate, const std::string& key) {
        const gnutls_datum_t first = datum_of(certificate), second = datum_of(key);
        gnutls_certificate_set_x509_key_mem(credentials_.get(), &first, &second,
                                            GNUTLS_X509_FMT_PEM);
    }
    void use_key(const std::string& identity, const Key& key) {
        gnutls_psk_client_credentials_t credentials = nullptr;
        gnutls_psk_allocate_client_credentials(&credentials);
        psk_.reset(credentials);
        const Secret secret(key);
        const gnutls_datum_t name = datum_of(identity), value = secret.datum();
        gnutls_psk_set_client_credentials2(credentials, &name, &value, GNUTLS_PSK_KEY_RAW);
        gnutls_credentials_set(get(), GNUTLS_CRD_PSK, credentials);
    }
    /// As a client: in TLS 1.3 its handshake may end before the server refuses it.
    void expect_refusal() {
        std::array<char, 1> byte{};
        if (gnutls_handshake(get()) == 0) {
            EXPECT_LT(gnutls_record_recv(get(), byte.data(), 1), 0);
        }
    }
    gnutls_session_t get() { return handle_.get(); }

  private:
    X509Credentials credentials_;
    PskClient psk_;
    SessionHandle handle_;
};

/// What a server says to a client that is only GnuTLS.
std::string answer_to(const std::function<void(int fd)>& client,
                      const Credentials& credentials = hosts().server(),
                      std::chrono::milliseconds timeout = 20s) {
    const Sockets sockets = tcp_pair();
    auto serving = std::async(std::launch::async, [&] {
        return error_of(Session::server(sockets.server.get(), credentials, {}, timeout));
    });
    client(sockets.client.get());
    return serving.get();
}

constexpr const char* modern = "NORMAL:-VERS-ALL:+VERS-TLS1.3";

TEST(TlsHandshake, CertificatesAtBothEnds) {
    const SessionPair pair = shake(hosts().client(), hosts().server());
    ASSERT_TRUE(pair.client && pair.server) << error_of(pair.client) << error_of(pair.server);
    EXPECT_EQ(pair.client->peer(), "O=Example,CN=a.example");
    EXPECT_EQ(pair.server->peer(), "O=Example,CN=b.example");
    EXPECT_EQ(pair.server->psk_identity(), std::nullopt);
    EXPECT_THAT(pair.client->describe(), HasSubstr("TLS 1.3, AES-128-GCM, encrypted "));
}

TEST(TlsHandshake, OtherNamesOfTheServer) {
    EXPECT_TRUE(shake(hosts().client(), hosts().server(), {.host = "also-a.example"}).client);
    EXPECT_TRUE(shake(hosts().client("a.example"), hosts().server(), {.host = "192.0.2.7"}).client);
}

TEST(TlsHandshake, RefusesTheWrongHostName) {
    const SessionPair pair = shake(hosts().client(), hosts().server(), {.host = "c.example"});
    EXPECT_THAT(
        error_of(pair.client),
        AllOf(HasSubstr("the certificate of the server (O=Example,CN=a.example) is refused"),
              HasSubstr("not made for 'c.example'"), HasSubstr("--tls-hostname")));
    EXPECT_THAT(error_of(pair.server), HasSubstr("the peer refused the connection"));
}

TEST(TlsHandshake, RefusesAServerOfAnotherAuthority) {
    for (const char* name : {"Other CA", "Test CA"}) {
        const Hosts others(name);
        const SessionPair pair = shake(hosts().client(), others.server());
        EXPECT_THAT(error_of(pair.client),
                    AllOf(HasSubstr("the certificate of the server (O=Example,CN=a.example) is "
                                    "refused: no CA in "),
                          HasSubstr("ca-cert.pem has signed it")));
        EXPECT_THAT(error_of(pair.server), HasSubstr("refused"));
    }
}

TEST(TlsHandshake, RefusesAClientOfAnotherAuthority) {
    for (const char* name : {"Other CA", "Test CA"}) {
        const Issued forged = Authority(name).issue({"b.example", Purpose::client});
        const std::string answer = answer_to([&](int fd) {
            Stranger stranger(fd, GNUTLS_CLIENT, modern);
            stranger.speak_guidecopy();
            stranger.use_certificate(forged.certificate, forged.key);
            stranger.expect_refusal();
        });
        EXPECT_THAT(answer,
                    AllOf(HasSubstr("the certificate of the client (O=Example,CN=b.example) is "
                                    "refused: no CA in "),
                          HasSubstr("ca-cert.pem has signed it")));
    }
}

TEST(TlsHandshake, RefusesACertificateOfTheWrongPurpose) {
    const Issued server = hosts().authority.issue({"a.example", Purpose::server});
    const std::string answer = answer_to([&](int fd) {
        Stranger stranger(fd, GNUTLS_CLIENT, modern);
        stranger.speak_guidecopy();
        stranger.use_certificate(server.certificate, server.key);
        stranger.expect_refusal();
    });
    EXPECT_THAT(answer, HasSubstr("it is not made for a TLS client (certtool: tls_www_client)"));
}

TEST(TlsHandshake, RefusesAnExpiredClient) {
    const Issued expired = hosts().authority.issue({.common_name = "b.example",
                                                    .purpose = Purpose::client,
                                                    .valid_from_days = -9,
                                                    .valid_days = -1});
    const std::string answer = answer_to([&](int fd) {
        Stranger stranger(fd, GNUTLS_CLIENT, modern);
        stranger.speak_guidecopy();
        stranger.use_certificate(expired.certificate, expired.key);
        stranger.expect_refusal();
    });
    EXPECT_THAT(answer, HasSubstr("is refused: it has expired"));
}

TEST(TlsHandshake, RefusesAnExpiredServer) {
    const Issued expired = hosts().authority.issue({.common_name = "a.example",
                                                    .purpose = Purpose::server,
                                                    .dns_names = {"a.example"},
                                                    .valid_from_days = -9,
                                                    .valid_days = -1});
    const Sockets sockets = tcp_pair();
    auto serving = std::async(std::launch::async, [&] {
        Stranger stranger(sockets.server.get(), GNUTLS_SERVER, modern);
        stranger.speak_guidecopy();
        stranger.use_certificate(expired.certificate, expired.key);
        return gnutls_handshake(stranger.get());
    });
    const auto client = Session::client(sockets.client.get(), hosts().client(), "a.example", 20s);
    EXPECT_THAT(error_of(client), HasSubstr("is refused: it has expired"));
    EXPECT_LT(serving.get(), 0);
}

TEST(TlsHandshake, RefusesARevokedClient) {
    const TemporaryDirectory directory;
    const Issued client = hosts().authority.issue({"b.example", Purpose::client});
    write_role(directory, hosts().authority, "server",
               hosts().authority.issue({"a.example", Purpose::server, {"a.example"}}));
    write_role(directory, hosts().authority, "client", client);
    Options options;
    options.creds_dir = directory.path();
    const Credentials own = Credentials::load(options, Role::client).value();
    directory.write("ca-crl.pem", hosts().authority.revoke({client.certificate}));
    const Credentials server = Credentials::load(options, Role::server).value();
    const SessionPair pair = shake(own, server);
    EXPECT_THAT(error_of(pair.server), HasSubstr("is refused: it was revoked"));
    EXPECT_THAT(error_of(pair.client), HasSubstr("the peer refused the connection"));
    EXPECT_TRUE(shake(hosts().client(), server).server) << "others are not revoked";
}

TEST(TlsHandshake, ChecksTheNameOfTheClient) {
    EXPECT_TRUE(shake(hosts().client(), hosts().server({"O=Other,*", "O=Example,CN=b.*"})).server);
    const SessionPair pair = shake(hosts().client(), hosts().server({"CN=b.example", "O=Other,*"}));
    EXPECT_THAT(error_of(pair.server),
                AllOf(HasSubstr("(O=Example,CN=b.example)"), HasSubstr("no --tls-authz pattern")));
    EXPECT_THAT(error_of(pair.client), HasSubstr("the peer's --tls-authz does not accept"));
}

TEST(TlsHandshake, RefusesAClientWithoutCertificate) {
    const std::string answer = answer_to([](int fd) {
        Stranger stranger(fd, GNUTLS_CLIENT, modern);
        stranger.speak_guidecopy();
        stranger.expect_refusal();
    });
    EXPECT_THAT(answer, HasSubstr("the client has no certificate (expected client-cert.pem"));
}

TEST(TlsHandshake, RefusesAClientOfAnotherProtocol) {
    const Issued client = hosts().authority.issue({"b.example", Purpose::client});
    const std::string answer = answer_to([&](int fd) {
        Stranger stranger(fd, GNUTLS_CLIENT, modern);
        stranger.use_certificate(client.certificate, client.key);
        (void)gnutls_handshake(stranger.get());
    });
    EXPECT_THAT(answer, HasSubstr("does not speak the protocol 'guidecopy'"));
}

TEST(TlsHandshake, RefusesTls12) {
    const std::string answer = answer_to([](int fd) {
        Stranger stranger(fd, GNUTLS_CLIENT, "NORMAL:-VERS-ALL:+VERS-TLS1.2");
        EXPECT_LT(gnutls_handshake(stranger.get()), 0);
    });
    EXPECT_THAT(answer, HasSubstr("the peer does not support TLS 1.3"));
}

TEST(TlsHandshake, RefusesAServerOfTls12) {
    const Issued server = hosts().authority.issue({"a.example", Purpose::server, {"a.example"}});
    const Sockets sockets = tcp_pair();
    auto serving = std::async(std::launch::async, [&] {
        Stranger stranger(sockets.server.get(), GNUTLS_SERVER, "NORMAL:-VERS-ALL:+VERS-TLS1.2");
        stranger.use_certificate(server.certificate, server.key);
        const int code = gnutls_handshake(stranger.get());
        gnutls_alert_send_appropriate(stranger.get(), code);
        return code;
    });
    const auto client = Session::client(sockets.client.get(), hosts().client(), "a.example", 20s);
    EXPECT_THAT(error_of(client), HasSubstr("expected TLS 1.3"));
    EXPECT_LT(serving.get(), 0);
}

TEST(TlsHandshake, NamesAPeerWithoutTls) {
    const std::string answer = answer_to([](int fd) {
        const std::string_view request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        ASSERT_TRUE(write_all(fd, std::as_bytes(std::span(request))));
    });
    EXPECT_THAT(answer, AllOf(HasSubstr("the peer does not speak TLS: it sent 'GET /"),
                              HasSubstr("--insecure")));
}

TEST(TlsHandshake, ASilentPeerEndsAtTheDeadline) {
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_THAT(answer_to([](int) { std::this_thread::sleep_for(400ms); }, hosts().server(), 200ms),
                HasSubstr("the peer said nothing within the time limit"));
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
}

TEST(TlsHandshake, ASlowPeerEndsAtTheDeadline) {
    const std::string answer = answer_to(
        [](int fd) {
            // The start of a handshake record, a byte at a time.
            constexpr std::array<unsigned char, 9> start{22, 3, 1, 2, 0, 1, 0, 1, 252};
            for (const unsigned char byte : start) {
                (void)write_all(fd, std::as_bytes(std::span(&byte, 1)));
                std::this_thread::sleep_for(50ms);
            }
        },
        hosts().server(), 300ms);
    EXPECT_THAT(answer, HasSubstr("the peer did not finish the handshake within the time limit"));
}

TEST(TlsHandshake, APeerThatLeaves) {
    const std::string answer = answer_to([](int fd) { ::shutdown(fd, SHUT_RDWR); });
    EXPECT_THAT(answer, HasSubstr("the peer closed the connection in the handshake"));
}

TEST(TlsHandshake, EachCipherCarriesData) {
    const Issued own = hosts().authority.issue({"b.example", Purpose::client});
    const std::vector<char> sent(100'000, 'x');
    for (const char* cipher : {"AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305"}) {
        const Sockets sockets = tcp_pair();
        auto reading = std::async(std::launch::async, [&] {
            const auto priorities = fmt::format("{}:-CIPHER-ALL:+{}", modern, cipher);
            Stranger stranger(sockets.client.get(), GNUTLS_CLIENT, priorities.c_str());
            stranger.speak_guidecopy();
            stranger.use_certificate(own.certificate, own.key);
            std::array<char, 16384> bytes{};
            std::vector<char> got;
            ssize_t count = gnutls_handshake(stranger.get());
            while (count >= 0) {
                count = gnutls_record_recv(stranger.get(), bytes.data(), bytes.size());
                if (count <= 0)
                    break;
                got.insert(got.end(), bytes.begin(), bytes.begin() + count);
            }
            EXPECT_EQ(count, 0) << "close_notify";
            return got;
        });
        auto server = Session::server(sockets.server.get(), hosts().server(), {}, 20s);
        ASSERT_TRUE(server) << error_of(server);
        EXPECT_THAT(server->describe(), HasSubstr(cipher));
        EXPECT_TRUE(server->write(std::as_bytes(std::span(sent))));
        server->end();
        const std::vector<char> got = reading.get();
        ASSERT_EQ(got.size(), 1 + sent.size()) << "the server's acceptance comes first";
        EXPECT_TRUE(std::equal(sent.begin(), sent.end(), got.begin() + 1));
    }
}

TEST(TlsHandshake, RefusesToChangeItsKeyOnRequest) {
    const Issued own = hosts().authority.issue({"b.example", Purpose::client});
    const Sockets sockets = tcp_pair();
    auto asking = std::async(std::launch::async, [&] {
        Stranger stranger(sockets.client.get(), GNUTLS_CLIENT, modern);
        stranger.speak_guidecopy();
        stranger.use_certificate(own.certificate, own.key);
        const int code = gnutls_handshake(stranger.get());
        return code < 0 ? code : gnutls_session_key_update(stranger.get(), GNUTLS_KU_PEER);
    });
    auto server = Session::server(sockets.server.get(), hosts().server(), {}, 20s);
    ASSERT_TRUE(server) << error_of(server);
    std::array<std::byte, 10> bytes{};
    const auto got = server->read_some(bytes);
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().kind, ErrorKind::protocol);
    EXPECT_EQ(asking.get(), 0);
}

TEST(TlsPskHandshake, OneKeyAtBothEnds) {
    const SessionPair pair = shake(one_time("once", 1), one_time("once", 1));
    ASSERT_TRUE(pair.client && pair.server) << error_of(pair.client) << error_of(pair.server);
    EXPECT_EQ(pair.server->psk_identity(), "once");
    EXPECT_EQ(pair.server->peer(), "PSK identity 'once'");
    EXPECT_EQ(pair.client->psk_identity(), std::nullopt);
}

TEST(TlsPskHandshake, RefusesTheWrongKey) {
    const SessionPair pair = shake(one_time("once", 1), one_time("once", 2));
    EXPECT_THAT(error_of(pair.server), HasSubstr("'once' is not the key that this end has"));
    EXPECT_THAT(error_of(pair.client), HasSubstr("the server does not know the key 'once'"));
}

TEST(TlsPskHandshake, RefusesAnUnknownIdentity) {
    const SessionPair pair = shake(one_time("twice", 1), one_time("once", 1));
    EXPECT_THAT(error_of(pair.server), HasSubstr("'twice' is unknown here"));
    EXPECT_THAT(error_of(pair.client), HasSubstr("the server does not know the key 'twice'"))
        << "the client does not learn which of both was wrong";
}

TEST(TlsPskHandshake, RefusesAClientWithACertificate) {
    const SessionPair pair = shake(hosts().client(), one_time("once", 1));
    EXPECT_FALSE(pair.client);
    EXPECT_THAT(error_of(pair.server),
                HasSubstr("expected TLS 1.3, and certificates at both ends"));
}

TEST(TlsPskHandshake, RefusesAnUnknownKeyWhereCertificatesAreExpected) {
    const SessionPair pair = shake(one_time("once", 1), hosts().server());
    EXPECT_FALSE(pair.client);
    EXPECT_THAT(error_of(pair.server), HasSubstr("'once' is unknown here"));
}

TEST(TlsPskHandshake, RefusesAServerThatIgnoresTheKey) {
    const Issued server = hosts().authority.issue({"a.example", Purpose::server, {"a.example"}});
    const Sockets sockets = tcp_pair();
    auto serving = std::async(std::launch::async, [&] {
        Stranger stranger(sockets.server.get(), GNUTLS_SERVER, modern);
        stranger.speak_guidecopy();
        stranger.use_certificate(server.certificate, server.key);
        return gnutls_handshake(stranger.get());
    });
    const auto client =
        Session::client(sockets.client.get(), one_time("once", 1), "a.example", 20s);
    EXPECT_FALSE(client);
    ::shutdown(sockets.client.get(), SHUT_RDWR);
    EXPECT_LT(serving.get(), 0);
}

TEST(TlsPskHandshake, LookupServesBesideCertificates) {
    const PskLookup lookup = [](std::string_view identity) -> std::optional<Key> {
        if (identity == "SESSION/bulk")
            return key_of(7);
        return std::nullopt;
    };
    const SessionPair channel =
        shake(one_time("SESSION/bulk", 7), hosts().server(), {.lookup = lookup});
    ASSERT_TRUE(channel.client && channel.server)
        << error_of(channel.client) << error_of(channel.server);
    EXPECT_EQ(channel.server->psk_identity(), "SESSION/bulk");
    const SessionPair control = shake(hosts().client(), hosts().server(), {.lookup = lookup});
    ASSERT_TRUE(control.server);
    EXPECT_EQ(control.server->psk_identity(), std::nullopt);
    EXPECT_FALSE(shake(one_time("SESSION/bulk", 8), hosts().server(), {.lookup = lookup}).server);
    EXPECT_FALSE(shake(one_time("SESSION/main", 7), hosts().server(), {.lookup = lookup}).server);
}

TEST(TlsPskHandshake, RefusesAKeyWithoutDiffieHellman) {
    const std::string answer = answer_to(
        [&](int fd) {
            Stranger stranger(fd, GNUTLS_CLIENT, "NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+PSK");
            stranger.speak_guidecopy();
            stranger.use_key("once", key_of(1));
            stranger.expect_refusal();
        },
        one_time("once", 1));
    EXPECT_THAT(answer, HasSubstr("TLS"));
    EXPECT_NE(answer, "accepted");
}

TEST(TlsPskHandshake, AThrowingLookupRefuses) {
    const PskLookup lookup = [](std::string_view) -> std::optional<Key> { throw std::bad_alloc(); };
    EXPECT_FALSE(shake(one_time("any", 7), hosts().server(), {.lookup = lookup}).server);
}

TEST(TlsExporter, IsEqualAtBothEndsAndNowhereElse) {
    const SessionPair pair = shake(hosts().client(), hosts().server());
    ASSERT_TRUE(pair.client && pair.server);
    const Key key = pair.client->exporter("EXPORTER-guidecopy", "bulk").value();
    EXPECT_EQ(key, pair.server->exporter("EXPORTER-guidecopy", "bulk").value());
    EXPECT_NE(key, pair.server->exporter("EXPORTER-guidecopy", "main").value());
    EXPECT_NE(key, pair.server->exporter("EXPORTER-other", "bulk").value());
    const SessionPair other = shake(hosts().client(), hosts().server());
    EXPECT_NE(key, other.client->exporter("EXPORTER-guidecopy", "bulk").value());
}

TEST(TlsHandshake, FilesOfKeysWorkAsWithQemu) {
    const TemporaryDirectory directory;
    directory.write("keys.psk", "other:0102030405060708090a0b0c0d0e0f10\n"
                                "qemu:1112131415161718191a1b1c1d1e1f20\n");
    Options options;
    options.psk_file = directory.path("keys.psk");
    const Credentials client = Credentials::load(options, Role::client).value();
    const Credentials server = Credentials::load(options, Role::server).value();
    const SessionPair pair = shake(client, server);
    ASSERT_TRUE(pair.server) << error_of(pair.server);
    EXPECT_EQ(pair.server->psk_identity(), "qemu");
}

TEST(TlsHandshake, PrefersACipherWithoutLimitForLargeVms) {
    PairOptions options;
    options.client.expected_bytes = std::uint64_t{1} << 40;
    const SessionPair pair = shake(hosts().client(), hosts().server(), options);
    ASSERT_TRUE(pair.client);
    if (pair.client->kernel_sends()) {
        EXPECT_THAT(pair.client->describe(), HasSubstr("CHACHA20-POLY1305"));
    }
    EXPECT_EQ(pair.client->records_left(), std::nullopt)
        << "either no limit, or the key is changed in user space";
}

}  // namespace
}  // namespace gc::tls
