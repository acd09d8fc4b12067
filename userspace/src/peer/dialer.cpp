// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/dialer.h"

#include "util/poll.h"

namespace gc::peer {

Result<Dialer> Dialer::create(Endpoint to, std::optional<tls::Credentials> credentials,
                              std::chrono::milliseconds timeout) {
    GC_TRY(const Token token, make_token());
    return Dialer(std::move(to), std::move(credentials), token, timeout);
}

Result<Connection> Dialer::connect(Channel channel, std::uint64_t expected_bytes) {
    const Deadline deadline(timeout_);
    GC_TRY(UniqueFd fd, tcp_connect(to_, deadline));
    GC_TRY(Connection connection, secure(std::move(fd), channel, expected_bytes, deadline));
    GC_CHECK(send_hello(connection, {.channel = channel, .token = token_}));
    return connection;
}

Result<Connection> Dialer::secure(UniqueFd fd, Channel channel, std::uint64_t expected_bytes,
                                  Deadline deadline) {
    if (!credentials_)
        return Connection(std::move(fd));
    const tls::SessionOptions options{.expected_bytes = expected_bytes};
    if (channel == Channel::control) {
        auto session = tls::Session::client(fd.get(), *credentials_, to_.host, deadline, options);
        if (!session && session.error().kind != ErrorKind::unsupported)
            return fail(ErrorKind::unsupported,
                        "no TLS with {}: {}; does its gcctl run with --insecure?", to_.str(),
                        session.error().message);
        if (!session)
            return Unexpected(session.error());
        GC_TRY(keys_, ChannelKeys::of(*session));
        return Connection(std::move(fd), *std::move(session));
    }
    GC_TRY(const tls::Credentials key,
           tls::Credentials::one_time(key_identity(token_, channel), keys_->key(channel)));
    GC_TRY(tls::Session session, tls::Session::client(fd.get(), key, to_.host, deadline, options));
    return Connection(std::move(fd), std::move(session));
}

}  // namespace gc::peer
