// SPDX-License-Identifier: GPL-2.0-or-later
#include "tls/kernel_tls.h"

#include "util/poll.h"
#include "util/socket.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <gnutls/gnutls.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <span>
#include <sys/socket.h>

#ifndef SOL_TLS  // glibc from 2.37
#define SOL_TLS 282
#endif
#ifndef TCP_ULP  // <linux/tcp.h>, which excludes <netinet/tcp.h>
#define TCP_ULP 31
#endif

namespace gc::tls {
namespace {

using Bytes = std::span<const unsigned char>;

void copy_into(std::span<unsigned char> to, Bytes from) {
    std::copy_n(from.begin(), std::min(to.size(), from.size()), to.begin());
}

bool attach(int fd) {
    // Loads the module if the process may (CAP_NET_ADMIN).
    return ::setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls") == 0;
}

struct SendingKeys {
    Bytes iv, key, sequence;
};

/// TLS 1.3 has one nonce of 12 bytes, which the kernel takes in two parts: the first bytes of it
/// are `salt`, the rest `iv` (net/tls/tls_sw.c, tls_set_sw_offload()).
template <typename Info> bool set_keys(int fd, unsigned short cipher, const SendingKeys& keys) {
    Info info{};
    if (keys.key.size() != sizeof info.key || keys.iv.size() != sizeof info.salt + sizeof info.iv)
        return false;
    info.info.version = TLS_1_3_VERSION;
    info.info.cipher_type = cipher;
    copy_into(info.key, keys.key);
    copy_into(std::span(info.salt, sizeof info.salt), keys.iv.first(sizeof info.salt));
    copy_into(info.iv, keys.iv.subspan(sizeof info.salt));
    copy_into(info.rec_seq, keys.sequence);
    const bool set = ::setsockopt(fd, SOL_TLS, TLS_TX, &info, sizeof info) == 0;
    gnutls_memset(&info, 0, sizeof info);
    return set;
}

bool probe() {
    auto listener = tcp_listen({"127.0.0.1", "0"});
    if (!listener)
        return false;
    const auto port = local_port(listener->get());
    if (!port)
        return false;
    const auto client = tcp_connect({"127.0.0.1", std::to_string(*port)}, std::chrono::seconds(1));
    return client && attach(client->get());
}

}  // namespace

bool kernel_has_tls() {
    static const bool has = probe();
    return has;
}

bool let_kernel_send(int fd, gnutls_session_int* session) {
    gnutls_datum_t iv{}, key{};
    std::array<unsigned char, 8> sequence{};
    if (gnutls_record_get_state(session, 0, nullptr, &iv, &key, sequence.data()) < 0)
        return false;
    if (!attach(fd))
        return false;
    const SendingKeys keys{{iv.data, iv.size}, {key.data, key.size}, sequence};
    switch (gnutls_cipher_get(session)) {
    case GNUTLS_CIPHER_AES_128_GCM:
        return set_keys<tls12_crypto_info_aes_gcm_128>(fd, TLS_CIPHER_AES_GCM_128, keys);
    case GNUTLS_CIPHER_AES_256_GCM:
        return set_keys<tls12_crypto_info_aes_gcm_256>(fd, TLS_CIPHER_AES_GCM_256, keys);
    case GNUTLS_CIPHER_CHACHA20_POLY1305:
        return set_keys<tls12_crypto_info_chacha20_poly1305>(fd, TLS_CIPHER_CHACHA20_POLY1305,
                                                             keys);
    default:
        return false;
    }
}

std::optional<std::uint64_t> records_sent_by_kernel(int fd) {
    union {
        tls_crypto_info info;
        tls12_crypto_info_aes_gcm_128 aes128;
        tls12_crypto_info_aes_gcm_256 aes256;
    } found{};
    // The kernel wants the exact size, which depends on the cipher.
    Bytes sequence;
    socklen_t size = sizeof found.aes128;
    if (::getsockopt(fd, SOL_TLS, TLS_TX, &found, &size) == 0)
        sequence = found.aes128.rec_seq;
    else if (size = sizeof found.aes256; ::getsockopt(fd, SOL_TLS, TLS_TX, &found, &size) == 0)
        sequence = found.aes256.rec_seq;
    std::optional<std::uint64_t> number;
    for (const unsigned char byte : sequence)
        number = number.value_or(0) << 8 | byte;
    gnutls_memset(&found, 0, sizeof found);
    return number;
}

Result<void> send_close_notify(int fd, Deadline deadline) {
    std::array<unsigned char, 2> alert{GNUTLS_AL_WARNING, GNUTLS_A_CLOSE_NOTIFY};
    iovec part{alert.data(), alert.size()};
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(unsigned char))> control{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_TLS;
    header->cmsg_type = TLS_SET_RECORD_TYPE;
    header->cmsg_len = CMSG_LEN(sizeof(unsigned char));
    *CMSG_DATA(header) = 21;  // alert
    while (::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return fail_errno(errno, "TLS close_notify");
        GC_TRY(const bool ready, wait_for_events(fd, POLLOUT, deadline));
        if (!ready)
            return fail(ErrorKind::io, "TLS close_notify: the peer does not read");
    }
    return {};
}

}  // namespace gc::tls
