// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/byte_relay.h"

#include <sys/socket.h>
#include <vector>

namespace gc::receive {
namespace {

constexpr std::size_t chunk_bytes = std::size_t{256} * 1024;

void copy(int from, int to, const Tap& tap) {
    std::vector<std::byte> buffer(chunk_bytes);
    for (;;) {
        const auto got = read_some(from, buffer);
        if (!got || *got == 0)
            break;
        const std::span<const std::byte> bytes = std::span(buffer).first(*got);
        if (!write_all(to, bytes))
            break;
        if (tap)
            tap(bytes);
    }
    ::shutdown(to, SHUT_WR);
    // Nobody reads `from` any more. Its writer must get an error instead of filling a buffer.
    ::shutdown(from, SHUT_RD);
}

}  // namespace

ByteRelay::ByteRelay(int from, int to, Tap tap)
    : from_(from), to_(to), ended_(ending_.get_future()), thread_([this, tap = std::move(tap)] {
          copy(from_, to_, tap);
          ending_.set_value();
      }) {}

ByteRelay::~ByteRelay() {
    stop();
    thread_.join();
}

bool ByteRelay::wait_end(std::chrono::milliseconds timeout) const {
    return ended_.wait_for(timeout) == std::future_status::ready;
}

void ByteRelay::stop() const {
    ::shutdown(from_, SHUT_RD);
    ::shutdown(to_, SHUT_WR);
}

}  // namespace gc::receive
