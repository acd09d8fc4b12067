// SPDX-License-Identifier: GPL-2.0-or-later
// One end of the control channel.
#pragma once

#include "peer/connection.h"
#include "peer/conversation.h"
#include "util/deadline.h"
#include "util/read_buffer.h"

#include <optional>

namespace gc::peer {

/// Sends and receives messages, each only when the peer protocol allows it. Single-threaded.
class Control {
  public:
    Control(Connection connection, End end)
        : connection_(std::move(connection)), conversation_(end) {}

    [[nodiscard]] int fd() const { return connection_.fd(); }
    [[nodiscard]] const Connection& connection() const { return connection_; }
    [[nodiscard]] State state() const { return conversation_.state(); }

    /// Errors: io; protocol, if the message may not be sent now: then nothing is sent.
    Result<void> send(const Message& message);
    /// The next message, or nullopt if none arrives by the deadline. Skips messages of later
    /// versions. Errors: io (the peer closed the connection), protocol (a message that is
    /// malformed, too long, or not allowed now). After an error the connection is of no use.
    Result<std::optional<Message>> receive(Deadline deadline);
    /// All channels are open.
    void opened() { conversation_.opened(); }

    void close() { connection_.close(); }

  private:
    Result<std::optional<Message>> take_message();

    Connection connection_;
    Conversation conversation_;
    ReadBuffer buffer_;
};

}  // namespace gc::peer
