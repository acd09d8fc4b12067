// SPDX-License-Identifier: GPL-2.0-or-later
#include "mirror/injector.h"

#include "mirror/channel_records.h"
#include "util/poll.h"

#include <algorithm>
#include <chrono>

namespace gc::mirror {
namespace {

using namespace std::chrono_literals;

constexpr auto tick = 50ms;
/// Packets of the guide that are read in a row.
constexpr unsigned max_answers = 64;

}  // namespace

Injector::Injector(peer::Channel& channel, std::vector<Open> ports, Waker stop)
    : channel_(channel), ports_(std::move(ports)), stop_(std::move(stop)),
      follower_([this](std::uint16_t nic, auto packet) { inject(nic, packet); }) {}

Result<std::unique_ptr<Injector>> Injector::start(peer::Channel& channel, int network_namespace,
                                                  const std::vector<Port>& ports) {
    GC_TRY(Waker stop, Waker::create());
    std::vector<Open> opened;
    for (const Port& port : ports) {
        GC_TRY(PacketSocket socket,
               PacketSocket::open(network_namespace, port.device, PacketSocket::Receives::headers));
        GC_CHECK(socket.listen());
        opened.push_back({port.nic, std::move(socket)});
    }
    std::unique_ptr<Injector> injector(new Injector(channel, std::move(opened), std::move(stop)));
    injector->thread_ = std::thread([raw = injector.get()] { raw->run(); });
    return injector;
}

Injector::~Injector() {
    stop();
}

void Injector::stop() {
    if (!thread_.joinable())
        return;
    stopping_ = true;
    stop_.signal();
    thread_.join();
}

InjectorCounts Injector::counts() const {
    const std::lock_guard lock(mutex_);
    return counts_;
}

std::optional<Error> Injector::error() const {
    const std::lock_guard lock(mutex_);
    return error_;
}

void Injector::publish() {
    now_.follower = follower_.counts();
    const std::lock_guard lock(mutex_);
    counts_ = now_;
}

void Injector::run() {
    std::vector<pollfd> waits{{stop_.fd(), POLLIN, 0}, {channel_.fd(), POLLIN, 0}};
    for (const Open& port : ports_)
        waits.push_back({port.socket.fd(), POLLIN, 0});
    auto ticked = Follower::Clock::now();
    while (!stopping_) {
        if (waits[1].fd < 0 || !channel_.pending())
            (void)poll_until(waits, tick);
        // The guide first: what follows acknowledges what it has sent.
        for (Open& port : ports_)
            read_guide(port);
        if (waits[1].fd >= 0) {
            const auto more = read_channel();
            if (!more || !*more) {
                waits[1].fd = -1;
                channel_.end_reading();
            }
            if (!more) {
                const std::lock_guard lock(mutex_);
                error_ = more.error();
            }
        }
        if (const auto now = Follower::Clock::now(); now - ticked >= tick) {
            follower_.tick(now);
            ticked = now;
        }
        publish();
    }
    publish();
    channel_.end_reading();
    channel_.end_writing();
}

Result<bool> Injector::read_channel() {
    // What the guide does not take in time is to be shown again.
    return take_records(channel_, reader_, [this](const Record& record) -> Result<void> {
        take(record);
        // Its answers change what the next copy has to acknowledge.
        for (Open& port : ports_)
            read_guide(port);
        return {};
    });
}

void Injector::take(const Record& record) {
    switch (record.kind) {
    case RecordKind::packet:
        follower_.from_client(record.nic, record.content, Follower::Clock::now());
        break;
    case RecordKind::left_out:
        ++now_.left_out;
        follower_.left_out(record.nic, record.content);
        break;
    case RecordKind::lost:
        std::uint64_t number = 0;
        for (const std::byte byte :
             record.content.first(std::min<std::size_t>(8, record.content.size())))
            number = number << 8 | std::to_integer<std::uint64_t>(byte);
        now_.lost += number;
        break;
    }
}

void Injector::read_guide(Open& port) {
    for (unsigned i = 0; i < max_answers; ++i) {
        const auto size = port.socket.receive(answer_);
        if (!size || !*size || **size < virtio_header)
            return;
        follower_.from_guide(port.nic, std::span(answer_).first(**size).subspan(virtio_header),
                             Follower::Clock::now());
    }
}

void Injector::inject(std::uint16_t nic, std::span<const std::byte> packet) {
    const auto port = std::ranges::find(ports_, nic, &Open::nic);
    if (port == ports_.end() || !port->socket.send(packet))
        ++now_.refused;
}

}  // namespace gc::mirror
