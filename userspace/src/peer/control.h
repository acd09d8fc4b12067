// SPDX-License-Identifier: GPL-2.0-or-later
// One end of the control channel.
#pragma once

#include "peer/channel.h"
#include "peer/conversation.h"
#include "util/deadline.h"
#include "util/read_buffer.h"

#include <optional>

namespace gc::peer {

/// Sends and receives messages, each only when the peer protocol allows it. Single-threaded.
class Control {
  public:
    /// @param channel must live longer
    /// @param state `prepared` if the answer to the hello was `ready`
    Control(Channel& channel, End end, State state)
        : channel_(channel), conversation_(end, state) {}

    [[nodiscard]] int fd() const { return channel_.fd(); }
    [[nodiscard]] State state() const { return conversation_.state(); }

    /// Errors: io; protocol, if the message may not be sent now: then nothing is sent.
    Result<void> send(const Message& message);
    /// The next message, or nullopt if none arrives by the deadline. Skips messages of later
    /// versions. Errors: io (the peer closed the connection), protocol (a message that is
    /// malformed, too long, or not allowed now). After an error the connection is of no use.
    Result<std::optional<Message>> receive(Deadline deadline);
    /// All channels are open.
    void opened() { conversation_.opened(); }

    void close() { channel_.close(); }
    /// See Channel::wait_taken().
    Result<bool> wait_taken(Deadline deadline) { return channel_.wait_taken(deadline); }

  private:
    Result<std::optional<Message>> take_message();

    Channel& channel_;
    Conversation conversation_;
    ReadBuffer buffer_;
};

}  // namespace gc::peer
