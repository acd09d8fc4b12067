// SPDX-License-Identifier: GPL-2.0-or-later
#include "tls/kernel_tls.h"
#include "tls/session_state.h"
#include "util/poll.h"

#include <algorithm>
#include <cerrno>
#include <sys/socket.h>
#include <system_error>

namespace gc::tls {
namespace {

/// Both ends name it (ALPN), so that a service of the same authority that speaks another protocol
/// cannot be put in the place of gcctl.
constexpr std::string_view protocol_name = "guidecopy";
/// The server's first byte: it accepts the client. libvirt's servers say the same.
constexpr unsigned char accepted = 1;

constexpr std::string_view no_agreement =
    "the peer and this end agree on no version of TLS, cipher or kind of credentials (expected TLS "
    "1.3, and certificates at both ends or --tls-psk at both)";

SessionState& state_of(gnutls_session_t session) {
    return *static_cast<SessionState*>(gnutls_session_get_ptr(session));
}

// The transport. Never blocks, whether the socket does or not, and never raises SIGPIPE.

ssize_t push(gnutls_transport_ptr_t pointer, const giovec_t* parts, int count) {
    auto& state = *static_cast<SessionState*>(pointer);
    int error = EPIPE;
    if (!state.kernel_sends) {  // else the kernel counts the records: see let_kernel_send()
        msghdr message{};
        message.msg_iov = const_cast<giovec_t*>(parts);
        message.msg_iovlen = static_cast<std::size_t>(count);
        const ssize_t sent = ::sendmsg(state.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0)
            return sent;
        error = errno;
    }
    if (error != EAGAIN && error != EINTR)
        state.transport_error = error;
    gnutls_transport_set_errno(state.handle.get(), error);
    return -1;
}

ssize_t receive(SessionState& state, void* into, std::size_t size) {
    const ssize_t got = ::recv(state.fd, into, size, MSG_DONTWAIT);
    state.drained = got < static_cast<ssize_t>(size);
    if (got < 0) {
        if (errno != EAGAIN && errno != EINTR)
            state.transport_error = errno;
        gnutls_transport_set_errno(state.handle.get(), errno);
        return -1;
    }
    const std::size_t room = state.first_bytes.size() - state.first_count;
    const std::size_t kept = std::min(room, static_cast<std::size_t>(got));
    std::copy_n(static_cast<unsigned char*>(into), kept,
                state.first_bytes.begin() + static_cast<std::ptrdiff_t>(state.first_count));
    state.first_count += kept;
    return got;
}

ssize_t pull(gnutls_transport_ptr_t pointer, void* into, std::size_t size) {
    auto& state = *static_cast<SessionState*>(pointer);
    if (state.ahead_begin == state.ahead_end) {
        // The rest of a large record needs no copy.
        if (size >= state.ahead.size() / 2)
            return receive(state, into, size);
        const ssize_t got = receive(state, state.ahead.data(), state.ahead.size());
        if (got <= 0)
            return got;
        state.ahead_begin = 0;
        state.ahead_end = static_cast<std::size_t>(got);
    }
    const std::size_t count = std::min(size, state.ahead_end - state.ahead_begin);
    std::copy_n(state.ahead.data() + state.ahead_begin, count, static_cast<std::byte*>(into));
    state.ahead_begin += count;
    return static_cast<ssize_t>(count);
}

// Certificates.

const gnutls_datum_t* peer_certificate(gnutls_session_t session) {
    unsigned count = 0;
    const gnutls_datum_t* list = gnutls_certificate_get_peers(session, &count);
    return count > 0 ? list : nullptr;
}

std::string peer_name(gnutls_session_t session) {
    const gnutls_datum_t* der = peer_certificate(session);
    gnutls_x509_crt_t certificate = nullptr;
    if (der == nullptr || gnutls_x509_crt_init(&certificate) < 0)
        return {};
    const Owned<gnutls_x509_crt_t, &gnutls_x509_crt_deinit> owner(certificate);
    if (gnutls_x509_crt_import(certificate, der, GNUTLS_X509_FMT_DER) < 0)
        return {};
    return distinguished_name(certificate);
}

/// Why a certificate with this status of gnutls_certificate_verify_peers() is refused.
std::string why_refused(const SessionState& state, unsigned status) {
    const std::string_view other = state.role == Role::client ? "server" : "client";
    // A signature that does not verify is that of another CA of the same name.
    if ((status & (GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNATURE_FAILURE)) != 0)
        return fmt::format("no CA in {} has signed it", state.credentials->source);
    if ((status & GNUTLS_CERT_EXPIRED) != 0)
        return "it has expired; renew it";
    if ((status & GNUTLS_CERT_NOT_ACTIVATED) != 0)
        return "it is not valid yet; check the clocks of both hosts";
    if ((status & GNUTLS_CERT_REVOKED) != 0)
        return "it was revoked";
    if ((status & GNUTLS_CERT_PURPOSE_MISMATCH) != 0)
        return fmt::format("it is not made for a TLS {0} (certtool: tls_www_{0})", other);
    if ((status & GNUTLS_CERT_UNEXPECTED_OWNER) != 0)
        return fmt::format("it is not made for '{}' (--tls-hostname NAME expects another name)",
                           state.host);
    Datum text;
    gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, text.out(), 0);
    return std::string(text.text());
}

/// The patterns of accepted names apply to the peer of either end.
bool is_authorized(const std::vector<std::string>& patterns, std::string_view name) {
    return patterns.empty() || std::ranges::any_of(patterns, [&](const std::string& pattern) {
               return matches(pattern, name);
           });
}

int verify(gnutls_session_t session) noexcept {
    SessionState& state = state_of(session);
    const bool client = state.role == Role::client;
    auto* purpose = const_cast<char*>(client ? GNUTLS_KP_TLS_WWW_SERVER : GNUTLS_KP_TLS_WWW_CLIENT);
    std::array<gnutls_typed_vdata_st, 2> expected{};
    expected[0].type = GNUTLS_DT_KEY_PURPOSE_OID;
    expected[0].data = reinterpret_cast<unsigned char*>(purpose);
    expected[1].type = GNUTLS_DT_DNS_HOSTNAME;
    expected[1].data = reinterpret_cast<unsigned char*>(state.host.data());
    unsigned status = 0;
    const int code =
        gnutls_certificate_verify_peers(session, expected.data(), client ? 2 : 1, &status);
    state.peer = peer_name(session);
    if (code < 0)
        state.refusal = gnutls_strerror(code);
    else if (status != 0)
        state.refusal = why_refused(state, status);
    else if (!is_authorized(state.credentials->authz, state.peer)) {
        state.refusal = "no --tls-authz pattern matches its name";
        state.peer_is_unauthorized = true;
    }
    if (!state.refusal.empty())
        return GNUTLS_E_CERTIFICATE_ERROR;
    state.verified = true;
    return 0;
}

// Pre-shared keys.

/// Gives GnuTLS a copy of a key. @return what its callback returns
int give_key(std::span<const std::byte> key, gnutls_datum_t* out) {
    out->data = static_cast<unsigned char*>(gnutls_malloc(key.size()));
    if (out->data == nullptr)
        return -1;
    std::copy_n(reinterpret_cast<const unsigned char*>(key.data()), key.size(), out->data);
    out->size = static_cast<unsigned>(key.size());
    return 0;
}

int find_key(gnutls_session_t session, const gnutls_datum_t* username, gnutls_datum_t* key) noexcept
    try {
    SessionState& state = state_of(session);
    const std::string_view identity(reinterpret_cast<const char*>(username->data), username->size);
    state.tried_psk = identity;
    for (const PskEntry& entry : state.credentials->psk)
        if (entry.identity == identity)
            return give_key(entry.key.bytes(), key);
    if (const auto found = state.lookup ? state.lookup(identity) : std::nullopt)
        return give_key(*found, key);
    state.unknown_psk = true;
    return 1;  // GnuTLS goes on with a random key: the client does not learn which of both was
               // wrong
} catch (...) {
    return -1;
}

/// Refuses the request to change this end's key, which guidecopy never makes: the change would be
/// sent by the reading thread, or collide with the records that the kernel sends.
int refuse_key_update_request(gnutls_session_t, unsigned, unsigned, unsigned incoming,
                              const gnutls_datum_t* message) {
    const bool request = incoming != 0 && message->size == 1 && message->data[0] != 0;
    return request ? GNUTLS_E_UNEXPECTED_HANDSHAKE_PACKET : 0;
}

// Setting up.

/// A key that no limit applies to, if the kernel sends more than AES-GCM allows. Even records of
/// 4 KiB, a guest page each, stay below 2^24.5 for 64 GiB.
bool needs_chacha(const SessionState& state) {
    constexpr std::uint64_t max_bytes_aes_gcm = std::uint64_t{64} << 30;
    return state.role == Role::client && state.options.expected_bytes > max_bytes_aes_gcm &&
           state.options.use_kernel && kernel_has_tls();
}

/// TLS 1.3 with ciphers that the kernel has. The client's order counts. AES-128 comes first: it is
/// the suite that every implementation has, and costs the least.
std::string priorities(const SessionState& state) {
    std::string text = "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL";
    text += needs_chacha(state) ? ":+CHACHA20-POLY1305:+AES-128-GCM:+AES-256-GCM"
                                : ":+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305";
    if (state.psk_client || (state.psk_server && !state.credentials->x509))
        text += ":-KX-ALL";
    if (state.psk_client || state.psk_server)
        text +=
            ":+ECDHE-PSK:+DHE-PSK";  // never without (EC)DHE: a key that leaks opens no recording
    return text;
}

int set_psk_client(SessionState& state) {
    gnutls_psk_client_credentials_t credentials = nullptr;
    if (const int code = gnutls_psk_allocate_client_credentials(&credentials); code < 0)
        return code;
    state.psk_client.reset(credentials);
    const PskEntry& entry = state.credentials->psk.front();
    const gnutls_datum_t identity = datum_of(entry.identity);
    const gnutls_datum_t key = entry.key.datum();
    const int code =
        gnutls_psk_set_client_credentials2(credentials, &identity, &key, GNUTLS_PSK_KEY_RAW);
    return code < 0 ? code
                    : gnutls_credentials_set(state.handle.get(), GNUTLS_CRD_PSK, credentials);
}

int set_psk_server(SessionState& state) {
    gnutls_psk_server_credentials_t credentials = nullptr;
    if (const int code = gnutls_psk_allocate_server_credentials(&credentials); code < 0)
        return code;
    state.psk_server.reset(credentials);
    gnutls_psk_set_server_credentials_function2(credentials, find_key);
    return gnutls_credentials_set(state.handle.get(), GNUTLS_CRD_PSK, credentials);
}

int set_credentials(SessionState& state) {
    gnutls_session_t session = state.handle.get();
    const bool server = state.role == Role::server;
    if (state.credentials->x509) {
        const int code =
            gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, state.credentials->x509.get());
        if (code < 0)
            return code;
        gnutls_session_set_verify_function(session, verify);
        if (server) {
            gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
            // Without the list of accepted CAs a client sends its certificate in any case: the
            // error can name it.
            gnutls_certificate_send_x509_rdn_sequence(session, 1);
        }
    }
    if (server)
        return set_psk_server(state);
    return state.credentials->x509 ? 0 : set_psk_client(state);
}

int set_up(SessionState& state) {
    const unsigned role = state.role == Role::client ? GNUTLS_CLIENT : GNUTLS_SERVER;
    gnutls_session_t session = nullptr;
    int code = gnutls_init(&session, role | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS |
                                         GNUTLS_NO_AUTO_REKEY);
    if (code < 0)
        return code;
    state.handle.reset(session);
    gnutls_session_set_ptr(session, &state);
    gnutls_transport_set_ptr(session, &state);
    gnutls_transport_set_vec_push_function(session, push);
    gnutls_transport_set_pull_function(session, pull);
    gnutls_handshake_set_hook_function(session, GNUTLS_HANDSHAKE_KEY_UPDATE, GNUTLS_HOOK_PRE,
                                       refuse_key_update_request);
    code = set_credentials(state);
    if (code >= 0)
        code = gnutls_priority_set_direct(session, priorities(state).c_str(), nullptr);
    if (code < 0 || state.options.foreign_peer)
        return code;
    const gnutls_datum_t name = datum_of(protocol_name);
    return gnutls_alpn_set_protocols(session, &name, 1, GNUTLS_ALPN_MANDATORY);
}

// The handshake.

Unexpected too_slow(const SessionState& state) {
    return fail(ErrorKind::io, "TLS: the peer {} within the time limit",
                state.first_count == 0 ? "said nothing" : "did not finish the handshake");
}

/// Calls `step` until it neither must wait nor be called again.
/// @return its result, or nullopt if the deadline passed. Errors: io.
template <typename Step>
Result<std::optional<ssize_t>> by_deadline(SessionState& state, Deadline deadline, Step step) {
    for (;;) {
        const ssize_t code = step();
        if (code != GNUTLS_E_AGAIN && code != GNUTLS_E_INTERRUPTED &&
            code != GNUTLS_E_WARNING_ALERT_RECEIVED)
            return code;
        // A peer that never lets this end wait must not keep it busy either.
        if (deadline.expired())
            return std::nullopt;
        if (code != GNUTLS_E_AGAIN)
            continue;
        const bool sending = gnutls_record_get_direction(state.handle.get()) == 1;
        GC_TRY(const bool ready,
               wait_for_events(state.fd, static_cast<short>(sending ? POLLOUT : POLLIN), deadline));
        if (!ready)
            return std::nullopt;
    }
}

/// Tells the peer why this end leaves. Best effort.
void send_alert(SessionState& state, int code) {
    (void)by_deadline(state, std::chrono::seconds(1), [&]() -> ssize_t {
        gnutls_session_t session = state.handle.get();
        if (!state.refusal.empty() && state.peer_is_unauthorized)
            return gnutls_alert_send(session, GNUTLS_AL_FATAL, GNUTLS_A_ACCESS_DENIED);
        return gnutls_alert_send_appropriate(session, code);
    });
}

bool speaks_tls(const SessionState& state) {
    // A record is a handshake message or an alert, of version 3.x.
    const unsigned char type = state.first_bytes[0];
    return state.first_count == 0 || type == 22 || type == 21;
}

/// What a peer sent, in a form that is safe to print.
std::string printable(std::span<const unsigned char> bytes) {
    std::string text;
    for (const unsigned char byte : bytes)
        text += byte >= ' ' && byte < 0x7f ? static_cast<char>(byte) : '.';
    return text;
}

std::string alert_text(const SessionState& state) {
    const gnutls_alert_description_t alert = gnutls_alert_get(state.handle.get());
    const bool psk = !state.credentials->x509;
    switch (alert) {
    case GNUTLS_A_ILLEGAL_PARAMETER:
    case GNUTLS_A_UNKNOWN_PSK_IDENTITY:
    case GNUTLS_A_DECRYPT_ERROR:
        if (psk && state.role == Role::client)
            return fmt::format(
                "the server does not know the key '{}' (expected the same line in the "
                "--tls-psk file of both ends)",
                state.credentials->psk.front().identity);
        break;
    case GNUTLS_A_HANDSHAKE_FAILURE:
    case GNUTLS_A_INSUFFICIENT_SECURITY:
    case GNUTLS_A_MISSING_EXTENSION:
        return std::string(no_agreement);
    case GNUTLS_A_PROTOCOL_VERSION:
        return "the peer does not support TLS 1.3";
    case GNUTLS_A_NO_APPLICATION_PROTOCOL:
        return "the peer does not speak the protocol 'guidecopy' within TLS";
    case GNUTLS_A_ACCESS_DENIED:
        return "the peer's --tls-authz does not accept the name of this end's certificate";
    case GNUTLS_A_UNKNOWN_CA:
        return "the peer's ca-cert.pem has not signed this end's certificate";
    case GNUTLS_A_CERTIFICATE_REQUIRED:
        return "the peer requires a certificate of this end";
    default:
        break;
    }
    const char* name = gnutls_alert_get_name(alert);
    return fmt::format("the peer refused the connection with the TLS alert '{}'",
                       name != nullptr ? name : "unknown");
}

Unexpected refused(const SessionState& state) {
    const std::string_view other = state.role == Role::client ? "server" : "client";
    return fail(ErrorKind::unsupported, "TLS: the certificate of the {} ({}) is refused: {}", other,
                state.peer, state.refusal);
}

Unexpected psk_failed(const SessionState& state) {
    const std::string identity = printable(std::span(
        reinterpret_cast<const unsigned char*>(state.tried_psk.data()), state.tried_psk.size()));
    return fail(ErrorKind::unsupported, "TLS: the client's key '{}' is {}", identity,
                state.unknown_psk ? "unknown here" : "not the key that this end has");
}

/// The error for a handshake that ended with this code of GnuTLS.
Unexpected handshake_failed(const SessionState& state, int code) {
    if (!state.refusal.empty())
        return refused(state);
    if (code == GNUTLS_E_FATAL_ALERT_RECEIVED)
        return fail(ErrorKind::unsupported, "TLS: {}", alert_text(state));
    if (!speaks_tls(state))
        return fail(ErrorKind::protocol,
                    "TLS: the peer does not speak TLS: it sent '{}' (does it run with --insecure?)",
                    printable(std::span(state.first_bytes).first(state.first_count)));
    if (!state.tried_psk.empty() && code == GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER)
        return psk_failed(state);
    switch (code) {
    case GNUTLS_E_PREMATURE_TERMINATION:
        return fail(ErrorKind::io, "TLS: the peer closed the connection in the handshake{}",
                    state.first_count == 0 ? " (does it run with --insecure?)" : "");
    case GNUTLS_E_NO_CERTIFICATE_FOUND:
    case GNUTLS_E_CERTIFICATE_REQUIRED:
        return fail(ErrorKind::unsupported, "TLS: the client has no certificate (expected "
                                            "client-cert.pem in its --tls-creds directory)");
    case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
        return fail(ErrorKind::protocol, "TLS: the peer does not support TLS 1.3");
    case GNUTLS_E_NO_APPLICATION_PROTOCOL:
        return fail(ErrorKind::protocol,
                    "TLS: the peer does not speak the protocol '{}' within TLS", protocol_name);
    case GNUTLS_E_NO_CIPHER_SUITES:
    case GNUTLS_E_INSUFFICIENT_CREDENTIALS:
    case GNUTLS_E_MISSING_EXTENSION:
        return fail(ErrorKind::unsupported, "TLS: {}", no_agreement);
    default:
        return fail(ErrorKind::protocol, "TLS handshake: {}", error_text(state, code));
    }
}

/// Checks what GnuTLS has agreed upon rather than trust that the priorities allowed nothing else.
Result<void> check_agreement(SessionState& state) {
    gnutls_session_t session = state.handle.get();
    if (gnutls_protocol_get_version(session) != GNUTLS_TLS1_3)
        return fail(ErrorKind::protocol, "TLS: the peer does not support TLS 1.3");
    gnutls_datum_t name{};
    if (!state.options.foreign_peer &&
        (gnutls_alpn_get_selected_protocol(session, &name) < 0 ||
         std::string_view(reinterpret_cast<char*>(name.data), name.size) != protocol_name))
        return fail(ErrorKind::protocol,
                    "TLS: the peer does not speak the protocol '{}' within TLS", protocol_name);
    const gnutls_kx_algorithm_t exchange = gnutls_kx_get(session);
    const bool psk = exchange == GNUTLS_KX_ECDHE_PSK || exchange == GNUTLS_KX_DHE_PSK;
    const bool may_use_psk = state.role == Role::server || !state.credentials->x509;
    if (psk ? !may_use_psk : !state.verified)
        return fail(ErrorKind::protocol, "TLS: the peer has not proven who it is");
    if (psk && state.role == Role::server)
        state.psk_identity = state.tried_psk;
    if (psk)
        state.peer = fmt::format(
            "PSK identity '{}'",
            state.role == Role::server ? state.tried_psk : state.credentials->psk.front().identity);
    return {};
}

/// The server's last word: a byte of data that says that it accepts the client. In TLS 1.3 the
/// client's handshake is over before the server has seen its certificate.
Result<void> confirm(SessionState& state, Deadline deadline) {
    unsigned char byte = accepted;
    gnutls_session_t session = state.handle.get();
    const bool server = state.role == Role::server;
    GC_TRY(const auto code, by_deadline(state, deadline, [&] {
               return server ? gnutls_record_send(session, &byte, 1)
                             : gnutls_record_recv(session, &byte, 1);
           }));
    if (!code)
        return too_slow(state);
    if (*code < 0)
        return handshake_failed(state, static_cast<int>(*code));
    if (*code == 0 || byte != accepted)
        return fail(ErrorKind::protocol, "TLS: the server ended the connection in the handshake");
    if (server)
        state.sent = 1;
    return {};
}

}  // namespace

bool holds_record(const SessionState& state) {
    // RFC 8446, section 5.1: type, version, length.
    constexpr std::size_t length_at = 3, header_size = 5;
    const auto bytes = std::span(state.ahead).first(state.ahead_end).subspan(state.ahead_begin);
    if (bytes.size() < header_size)
        return false;
    const std::size_t length = std::to_integer<std::size_t>(bytes[length_at]) << 8 |
                               std::to_integer<std::size_t>(bytes[length_at + 1]);
    return bytes.size() >= header_size + length;
}

std::string error_text(const SessionState& state, int code) {
    if ((code == GNUTLS_E_PUSH_ERROR || code == GNUTLS_E_PULL_ERROR) && state.transport_error != 0)
        return std::generic_category().message(state.transport_error);
    if (code == GNUTLS_E_PREMATURE_TERMINATION)
        return "the connection was cut";
    if (code == GNUTLS_E_DECRYPTION_FAILED)
        return "a record was altered on its way";
    if (code == GNUTLS_E_FATAL_ALERT_RECEIVED) {
        const char* name = gnutls_alert_get_name(gnutls_alert_get(state.handle.get()));
        return fmt::format("the peer ended the connection with the alert '{}'",
                           name != nullptr ? name : "unknown");
    }
    return gnutls_strerror(code);
}

Result<void> shake_hands(SessionState& state, Deadline deadline) {
    if (const int code = set_up(state); code < 0)
        return fail(ErrorKind::unsupported, "TLS: cannot set up a session: {}",
                    gnutls_strerror(code));
    GC_TRY(const auto code, by_deadline(state, deadline, [&]() -> ssize_t {
               return gnutls_handshake(state.handle.get());
           }));
    if (!code)
        return too_slow(state);
    if (*code < 0) {
        send_alert(state, static_cast<int>(*code));
        return handshake_failed(state, static_cast<int>(*code));
    }
    GC_CHECK(check_agreement(state));
    if (!state.options.foreign_peer)
        GC_CHECK(confirm(state, deadline));
    state.lookup = nullptr;
    if (state.options.use_kernel && kernel_has_tls())
        state.kernel_sends = let_kernel_send(state.fd, state.handle.get());
    return {};
}

}  // namespace gc::tls
