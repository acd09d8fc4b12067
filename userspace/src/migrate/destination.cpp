// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/destination.h"

#include "migrate/options.h"
#include "peer/identity.h"

#include <algorithm>
#include <vector>

namespace gc::migrate {
namespace {

using namespace std::chrono_literals;

constexpr auto ready_timeout = 10s;
/// For ssh to log in, which may mean that the user types a password.
constexpr auto ssh_timeout = 120s;

/// The most that one channel may hold of what the destination has not taken: what fits on the path
/// in two round trips, since acknowledgements are not sent at once.
std::size_t max_copied(int socket, std::uint64_t bandwidth) {
    constexpr std::uint64_t fast = 12'500'000'000;  // bytes per second: no NIC of today is faster
    constexpr std::uint64_t least = std::uint64_t{8} << 20, most = std::uint64_t{128} << 20;
    const std::uint64_t rate = bandwidth == 0 ? fast : std::min(bandwidth, fast);
    return std::clamp<std::uint64_t>(2 * rate * round_trip_us(socket) / 1'000'000, least, most);
}

}  // namespace

Result<std::unique_ptr<Destination>> Destination::connect(const Options& options) {
    auto destination = std::unique_ptr<Destination>(new Destination(options));
    GC_CHECK(destination->find_and_connect());
    return destination;
}

Result<peer::Security> Destination::find() {
    if (options_.ssh) {
        GC_TRY(RemoteReceive remote, RemoteReceive::start(*options_.ssh, ssh_timeout));
        remote_.emplace(std::move(remote));
        address_ = remote_->listens_at();
        return peer::Security{peer::Protection::tls, remote_->credentials()};
    }
    address_ = options_.to;
    return peer::secure(options_.security, tls::Role::client, address_);
}

Result<void> Destination::find_and_connect() {
    GC_TRY(peer::Security security, find());
    GC_TRY(dialer_, peer::Dialer::create(address_, std::move(security.credentials),
                                         options_.connect_timeout));
    GC_TRY(first_, dialer_->connect());
    security_ = {security.protection, "", ""};
    if (const tls::Session* session = first_.session())
        security_ = {security.protection, session->peer(), session->describe()};
    return {};
}

Result<void> Destination::await_ready(std::uint64_t memory, bool pages_again) {
    memory_ = memory;
    pages_again_ = pages_again;
    auto answer = peer::receive_answer(first_, ready_timeout);
    if (!answer)
        return fail(ErrorKind::unsupported,
                    "expected a 'gcctl receive' that is waiting for a VM at {}: {}", address_.str(),
                    answer.error().message);
    if (const auto* refused = std::get_if<peer::Refused>(&*answer))
        return fail(ErrorKind::unsupported, "the destination refused the VM: {}", refused->reason);
    auto* ready = std::get_if<peer::Ready>(&*answer);
    if (ready == nullptr)
        return fail(ErrorKind::protocol,
                    "expected 'ready' or 'refused' from the destination, found '{}'",
                    peer::name(peer::type_of(*answer)));
    if (ready->version < peer::oldest_version || ready->version > peer::newest_version)
        return fail(ErrorKind::unsupported,
                    "expected version {} to {} of the peer protocol, the destination chose {}; "
                    "install releases of gcctl that share a version",
                    peer::oldest_version, peer::newest_version, ready->version);
    offer_ = std::move(*ready);
    return create_channels();
}

Result<peer::Connection> Destination::join(peer::ChannelId channel, bool resume,
                                           Deadline deadline) const {
    using enum peer::ChannelId;
    // Mirror and forward carry packets, each in a record of its own. Those of mirror come from the
    // destination.
    std::uint64_t expected = memory_;
    if (channel == control)
        expected = 0;
    else if (channel == mirror || channel == forward || (channel == main && pages_again_))
        expected = UINT64_MAX;
    return dialer_->join(channel, expected, resume, deadline);
}

Result<void> Destination::create_channels() {
    if (offer_.version < peer::records_version) {
        GC_TRY(channels_, peer::Channels::raw(peer::End::source));
    } else {
        const auto dial = [this](peer::ChannelId id, bool resume, Deadline deadline) {
            return join(id, resume, deadline);
        };
        GC_TRY(channels_,
               peer::Channels::create({.end = peer::End::source,
                                       .max_copied = max_copied(first_.fd(), options_.bandwidth),
                                       .dial = dial}));
    }
    GC_CHECK(channels_->attach(peer::ChannelId::control, std::move(first_), ready_timeout));
    control_.emplace((*channels_)[peer::ChannelId::control], peer::End::source,
                     peer::State::prepared);
    return {};
}

Result<void> Destination::open_channels(std::span<const peer::ChannelId> others) {
    std::vector<peer::ChannelId> ids{peer::ChannelId::main};
    if (offer_.preempt)
        ids.push_back(peer::ChannelId::urgent);
    ids.push_back(peer::ChannelId::bulk);
    ids.insert(ids.end(), others.begin(), others.end());
    if (channels_->are_raw()) {
        for (const peer::ChannelId id : ids) {
            GC_TRY(peer::Connection connection, join(id, false, dialer_->timeout()));
            GC_CHECK(channels_->attach(id, std::move(connection), dialer_->timeout()));
        }
    } else {
        GC_CHECK(channels_->open(ids, dialer_->timeout()));
    }
    control_->opened();
    return {};
}

Result<std::string> Destination::migration_id() const {
    return peer::public_id(dialer_->token());
}

}  // namespace gc::migrate
