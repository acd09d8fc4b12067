// SPDX-License-Identifier: GPL-2.0-or-later
#include "forward/deliverer.h"

#include "mirror/channel_records.h"
#include "util/poll.h"

#include <algorithm>
#include <array>
#include <chrono>

namespace gc::forward {
namespace {

using namespace std::chrono_literals;

constexpr auto wake_interval = 100ms;

}  // namespace

Result<std::vector<Deliverer::Port>> Deliverer::open(const std::vector<mirror::Tap>& taps) {
    std::vector<Port> ports;
    for (const mirror::Tap& tap : taps) {
        const auto mac = mirror::parse_mac(tap.mac);
        if (!mac)
            continue;
        // Not the tap's own socket: one does not see what it sent itself, and the mirror has to.
        GC_TRY(mirror::PacketSocket socket,
               mirror::PacketSocket::open(tap.network_namespace.get(), tap.device,
                                          mirror::PacketSocket::Receives::sent_to, *mac));
        GC_CHECK(socket.only_send());
        ports.push_back({*mac, std::move(socket)});
    }
    return ports;
}

Result<std::unique_ptr<Deliverer>> Deliverer::start(std::vector<Port> ports,
                                                    peer::Channel& channel) {
    GC_TRY(Waker stop, Waker::create());
    std::unique_ptr<Deliverer> made(new Deliverer(std::move(ports), channel, std::move(stop)));
    made->thread_ = std::thread([raw = made.get()] { raw->run(); });
    return made;
}

Deliverer::~Deliverer() {
    stopping_ = true;
    stop_.signal();
    thread_.join();
}

std::optional<Error> Deliverer::error() const {
    const std::lock_guard lock(mutex_);
    return error_;
}

void Deliverer::run() {
    std::array<pollfd, 2> waits{{{stop_.fd(), POLLIN, 0}, {channel_.fd(), POLLIN, 0}}};
    while (!stopping_) {
        if (!channel_.pending())
            (void)poll_until(waits, wake_interval);
        const auto more = mirror::take_records(
            channel_, reader_, [this](const mirror::Record& record) { return take(record); });
        if (!more) {
            const std::lock_guard lock(mutex_);
            error_ = more.error();
        }
        if (!more || !*more)
            break;
    }
    channel_.end_reading();
    channel_.end_writing();
}

Result<void> Deliverer::take(const mirror::Record& record) {
    if (record.kind != mirror::RecordKind::packet)
        return fail(ErrorKind::protocol,
                    "expected packets only on channel 'forward', found a record of kind {}",
                    static_cast<unsigned>(record.kind));
    deliver(record.content);
    return {};
}

void Deliverer::deliver(std::span<const std::byte> packet) {
    const auto address = mirror::destination_of(packet);
    const auto port = std::ranges::find_if(
        ports_, [&](const Port& each) { return std::ranges::equal(each.mac, address); });
    const bool taken = port != ports_.end() && port->socket.send(packet);
    ++(taken ? packets_ : refused_);
}

}  // namespace gc::forward
