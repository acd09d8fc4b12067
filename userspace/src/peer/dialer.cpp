// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/dialer.h"

#include "util/poll.h"

namespace gc::peer {

Result<Dialer> Dialer::create(Endpoint to, std::optional<tls::Credentials> credentials,
                              std::chrono::milliseconds timeout) {
    GC_TRY(const Token token, make_token());
    return Dialer(std::move(to), std::move(credentials), token, timeout);
}

Result<Connection> Dialer::connect() {
    const Deadline deadline(timeout_);
    GC_TRY(UniqueFd fd, tcp_connect(to_, deadline));
    // Later connections need no name service, and go to the same host.
    GC_TRY(found_, peer_endpoint(fd.get()));
    GC_TRY(Connection connection, prove_identity(std::move(fd), deadline));
    GC_CHECK(send_hello(connection, {.channel = ChannelId::control, .token = token_}));
    return connection;
}

Result<Connection> Dialer::prove_identity(UniqueFd fd, Deadline deadline) {
    if (!credentials_)
        return Connection(std::move(fd));
    auto session = tls::Session::client(fd.get(), *credentials_, to_.host, deadline);
    if (!session && session.error().kind != ErrorKind::unsupported)
        return fail(ErrorKind::unsupported,
                    "no TLS with {}: {}; does its gcctl run with --insecure?", to_.str(),
                    session.error().message);
    if (!session)
        return Unexpected(session.error());
    GC_TRY(keys_, ChannelKeys::of(*session));
    return Connection(std::move(fd), *std::move(session));
}

Result<Connection> Dialer::join(ChannelId channel, std::uint64_t expected_bytes, bool resume,
                                Deadline deadline) const {
    GC_TRY(UniqueFd fd, tcp_connect(found_, deadline));
    Connection connection;
    if (!keys_) {
        connection = Connection(std::move(fd));
    } else {
        GC_TRY(const tls::Credentials key,
               tls::Credentials::one_time(key_identity(token_, channel), keys_->key(channel)));
        GC_TRY(tls::Session session, tls::Session::client(fd.get(), key, to_.host, deadline,
                                                          {.expected_bytes = expected_bytes}));
        connection = Connection(std::move(fd), std::move(session));
    }
    GC_CHECK(send_hello(connection, {.channel = channel, .token = token_, .resume = resume}));
    return connection;
}

}  // namespace gc::peer
