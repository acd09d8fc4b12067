// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/control.h"

#include "util/poll.h"

namespace gc::peer {

Result<void> Control::send(const Message& message) {
    GC_CHECK(conversation_.sent(type_of(message)));
    const std::string line = encode(message);
    return channel_.write(std::as_bytes(std::span(line)));
}

Result<std::optional<Message>> Control::take_message() {
    while (const auto line = buffer_.take_line()) {
        GC_TRY(auto message, decode(*line));
        if (!message)
            continue;
        GC_CHECK(conversation_.received(type_of(*message)));
        return message;
    }
    if (buffer_.bytes().size() > max_line)
        return fail(ErrorKind::protocol,
                    "expected messages of at most {} bytes from the other gcctl, found a longer "
                    "one",
                    max_line);
    return std::nullopt;
}

Result<std::optional<Message>> Control::receive(Deadline deadline) {
    for (;;) {
        GC_TRY(auto message, take_message());
        if (message)
            return message;
        GC_TRY(const bool ready,
               channel_.pending() ? true : wait_readable(channel_.fd(), deadline));
        if (!ready)
            return std::nullopt;
        constexpr std::size_t max_read = 4096;
        GC_TRY(const std::size_t got,
               buffer_.fill_with([&](auto room) { return channel_.read_some(room); }, max_read));
        if (got == 0)
            return fail(ErrorKind::io, "the other gcctl closed the control connection");
    }
}

}  // namespace gc::peer
