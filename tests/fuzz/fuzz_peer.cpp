// SPDX-License-Identifier: GPL-2.0-or-later
// The lines of the control channel: what the other gcctl may say, and when. The first byte chooses
// the end that listens; the rest is what it receives, hello first.
#include "peer/control.h"
#include "peer/hello.h"

#include <array>
#include <cstdlib>
#include <sys/socket.h>

namespace {

using namespace gc;

/// A message that was taken can be said again, and then means the same.
void check_again(const peer::Message& message) {
    std::string line = peer::encode(message);
    line.pop_back();
    const auto again = peer::decode(line);
    if (!again || !*again || peer::type_of(**again) != peer::type_of(message))
        std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::array<int, 2> ends{};
    if (size == 0 || size > 60'000 ||
        ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
        return 0;
    peer::Connection ours{UniqueFd(ends[0])};
    peer::Connection theirs{UniqueFd(ends[1])};
    const auto end = (data[0] & 1) != 0 ? peer::End::source : peer::End::destination;
    if (!theirs.write(std::as_bytes(std::span(data, size)).subspan(1)))
        return 0;
    theirs.end_writing();
    if (end == peer::End::destination) {
        const auto hello = peer::receive_hello(ours, std::chrono::seconds(1));
        if (!hello || !peer::agree(*hello))
            return 0;
    }
    auto state = peer::State::greeted;
    if (end == peer::End::destination) {
        (void)peer::send_answer(ours, peer::Ready{});
        state = peer::State::prepared;
    }
    const auto channel = peer::Channel::raw(std::move(ours));
    if (!channel)
        return 0;
    peer::Control control(**channel, end, state);
    if (control.state() == peer::State::prepared)
        control.opened();
    for (;;) {
        const auto message = control.receive(std::chrono::milliseconds(0));
        if (!message || !*message)
            return 0;
        check_again(**message);
        if (control.state() == peer::State::prepared)
            control.opened();
        if (control.state() == peer::State::streaming && end == peer::End::source)
            (void)control.send(peer::Commit{});
    }
}
