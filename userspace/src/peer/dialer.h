// SPDX-License-Identifier: GPL-2.0-or-later
// Opens the channels of one migration, as its source.
#pragma once

#include "peer/channel_keys.h"
#include "peer/connection.h"
#include "peer/hello.h"
#include "tls/credentials.h"
#include "util/socket.h"

#include <chrono>
#include <optional>
#include <string>

namespace gc::peer {

/// The first connection, of control, proves with the user's credentials who both ends are. Every
/// later one proves with a key of that connection's TLS session that it belongs to the same
/// migration.
class Dialer {
  public:
    /// @param credentials nullopt: connections in clear
    /// Errors: io.
    static Result<Dialer> create(Endpoint to, std::optional<tls::Credentials> credentials,
                                 std::chrono::milliseconds timeout);

    /// The first connection of control. Errors: io, protocol; unsupported, if an end refuses the
    /// other.
    Result<Connection> connect();
    /// A connection of any channel, after that one. Thread-safe.
    /// @param expected_bytes see tls::SessionOptions
    /// Errors: as connect().
    [[nodiscard]] Result<Connection> join(ChannelId channel, std::uint64_t expected_bytes,
                                          bool resume, Deadline deadline) const;
    /// For the first connection of each channel.
    [[nodiscard]] std::chrono::milliseconds timeout() const { return timeout_; }

    [[nodiscard]] const Endpoint& to() const { return to_; }
    [[nodiscard]] const Token& token() const { return token_; }

  private:
    Dialer(Endpoint to, std::optional<tls::Credentials> credentials, const Token& token,
           std::chrono::milliseconds timeout)
        : to_(std::move(to)), credentials_(std::move(credentials)), token_(token),
          timeout_(timeout) {}
    Result<Connection> prove_identity(UniqueFd fd, Deadline deadline);

    Endpoint to_;
    std::optional<tls::Credentials> credentials_;
    Token token_;
    std::chrono::milliseconds timeout_;
    Endpoint found_;                   ///< the address that to_ was resolved to
    std::optional<ChannelKeys> keys_;  ///< of the first connection's session
};

}  // namespace gc::peer
