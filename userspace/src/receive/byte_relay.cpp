// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/byte_relay.h"

#include "util/guarded.h"

#include <vector>

namespace gc::receive {
namespace {

constexpr std::size_t chunk_bytes = std::size_t{256} * 1024;

Result<void> copy(peer::Connection& from, peer::Connection& to, const Tap& tap) {
    std::vector<std::byte> buffer(chunk_bytes);
    for (;;) {
        GC_TRY(const std::size_t got, from.read_some(buffer));
        if (got == 0)
            return {};
        const std::span<const std::byte> bytes = std::span(buffer).first(got);
        GC_CHECK(to.write(bytes));
        if (tap)
            tap(bytes);
    }
}

}  // namespace

ByteRelay::ByteRelay(peer::Connection& from, peer::Connection& to, Tap tap)
    : from_(from), to_(to), ended_(ending_.get_future()), thread_([this, tap = std::move(tap)] {
          (void)guarded([&] { return copy(from_, to_, tap); });
          to_.end_writing();
          // Its writer must get an error instead of filling a buffer that nobody reads.
          from_.end_reading();
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
    from_.end_reading();
    to_.shut_down();
}

}  // namespace gc::receive
