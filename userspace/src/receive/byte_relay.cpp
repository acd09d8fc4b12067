// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/byte_relay.h"

#include "util/guarded.h"

#include <vector>

namespace gc::receive {
namespace {

constexpr std::size_t chunk_bytes = std::size_t{256} * 1024;

template <typename From, typename To>
Result<void> copy(From& from, To& to, const Tap& before, const Tap& after) {
    std::vector<std::byte> buffer(chunk_bytes);
    for (;;) {
        GC_TRY(const std::size_t got, from.read_some(buffer));
        if (got == 0)
            return {};
        const std::span<const std::byte> bytes = std::span(buffer).first(got);
        if (before)
            before(bytes);
        GC_CHECK(to.write(bytes));
        if (after)
            after(bytes);
    }
}

}  // namespace

template <typename From, typename To>
void ByteRelay::start(From& from, To& to, Tap before, Tap after) {
    stop_ = [&from, &to] {
        from.end_reading();
        to.shut_down();
    };
    thread_ = std::thread([this, &from, &to, before = std::move(before), after = std::move(after)] {
        (void)guarded([&] { return copy(from, to, before, after); });
        to.end_writing();
        // Its writer must get an error instead of filling a buffer that nobody reads.
        from.end_reading();
        ending_.set_value();
    });
}

ByteRelay::ByteRelay(peer::Channel& from, peer::Connection& to, Tap tap)
    : ended_(ending_.get_future()) {
    start(from, to, nullptr, std::move(tap));
}

ByteRelay::ByteRelay(peer::Connection& from, peer::Channel& to, Tap tap)
    : ended_(ending_.get_future()) {
    start(from, to, std::move(tap), nullptr);
}

ByteRelay::~ByteRelay() {
    stop();
    thread_.join();
}

bool ByteRelay::wait_end(std::chrono::milliseconds timeout) const {
    return ended_.wait_for(timeout) == std::future_status::ready;
}

}  // namespace gc::receive
