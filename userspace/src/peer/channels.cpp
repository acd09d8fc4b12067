// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/channels.h"

#include "util/socket.h"

#include <algorithm>
#include <cerrno>
#include <linux/pkt_sched.h>
#include <sys/socket.h>
#include <thread>
#include <utility>
#include <vector>

namespace gc::peer {
namespace {

using namespace std::chrono_literals;

/// Between two attempts to connect: doubles from the first to the second.
constexpr std::chrono::milliseconds min_pause = 50ms;
constexpr std::chrono::milliseconds max_pause = 1s;
/// For an attempt: the handshakes of TCP and TLS, and the hello. It doubles, too. A lost SYN is
/// sent again after 1 s (TCP_TIMEOUT_INIT in include/net/tcp.h, 6.1), so a new attempt comes soon
/// after the network is back; on a long path a later one has time for all its round trips.
constexpr std::chrono::milliseconds min_dial_time = 1500ms;
constexpr std::chrono::milliseconds max_dial_time = 6s;

/// Whether the other host answered, and said no.
bool is_refusal(const Error& error) {
    return error.error_number == ECONNREFUSED || error.kind == ErrorKind::unsupported;
}

/// Whether the other host ended a connection, rather than the network or this gcctl.
bool is_end(const Error& error) {
    constexpr std::array of_the_network{ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, ENETDOWN};
    return error.kind == ErrorKind::io &&
           std::ranges::find(of_the_network, error.error_number) == of_the_network.end();
}

/// Whether a VM may wait for what this end sends on the channel, and nothing else is on it: control
/// messages, urgent pages, and all that the destination sends but copies of packets. Where pages of
/// several kinds share a connection, transfer::Outlet marks each.
bool is_urgent(End end, ChannelId id) {
    switch (id) {
    case ChannelId::control:
    case ChannelId::urgent:
        return true;
    case ChannelId::main:
    case ChannelId::bulk:
        return end == End::destination;
    case ChannelId::mirror:
    case ChannelId::forward:
        break;
    }
    return false;
}

}  // namespace

Result<std::shared_ptr<Channels>> Channels::create(Options options) {
    GC_TRY(Waker news, Waker::create());
    GC_TRY(Waker stop, Waker::create());
    std::shared_ptr<Channels> made(
        new Channels(std::move(options), std::move(news), std::move(stop)));
    std::vector<Channel*> all;
    for (const ChannelId id : channel_ids) {
        GC_CHECK(made->create_line(id));
        all.push_back(made->line(id).channel.get());
    }
    made->heartbeat_.emplace(std::move(all));
    if (made->options_.dial)
        for (const ChannelId id : channel_ids)
            made->line(id).thread =
                std::thread([raw = made.get(), id] { raw->keep_connected(id); });
    return made;
}

Result<std::shared_ptr<Channels>> Channels::raw(End end) {
    GC_TRY(Waker news, Waker::create());
    GC_TRY(Waker stop, Waker::create());
    std::shared_ptr<Channels> made(
        new Channels({.end = end, .dial = {}}, std::move(news), std::move(stop)));
    made->raw_ = true;
    return made;
}

std::size_t Channels::max_unsent(ChannelId id) {
    switch (id) {
    case ChannelId::control:
        return max_unsent_control;
    case ChannelId::mirror:
    case ChannelId::forward:
        return max_unsent_packets;
    case ChannelId::main:
    case ChannelId::bulk:
    case ChannelId::urgent:
        break;
    }
    return 0;
}

Result<void> Channels::create_line(ChannelId id) {
    Line& made = line(id);
    GC_TRY(made.wake, Waker::create());
    // The caller reads where it always does: at the source main, until QEMU's last word, and
    // mirror, until the guide ends; at the destination pages, and packets of forward.
    const bool caller = options_.end == End::source
                            ? id == ChannelId::main || id == ChannelId::mirror
                            : id != ChannelId::control && id != ChannelId::mirror;
    GC_TRY(made.channel,
           Channel::create({.reads = caller ? Channel::Reads::caller : Channel::Reads::thread,
                            .max_copied = options_.max_copied,
                            .max_unsent = max_unsent(id),
                            .on_lost = [this, id](const Error& cause) {
                                note_loss(id, cause);
                                line(id).wake->signal();
                            }}));
    return {};
}

Channels::~Channels() {
    shut_down();
    for (Line& each : lines_)
        if (each.thread.joinable())
            each.thread.join();
    heartbeat_.reset();
    for (Line& each : lines_)
        if (each.channel)
            each.channel->close();
}

void Channels::shut_down() {
    stopping_ = true;
    stop_.signal();
    for (const Line& each : lines_) {
        if (each.wake)
            each.wake->signal();
        if (each.channel)
            each.channel->shut_down();
    }
}

void Channels::set_priority(ChannelId id, int socket) const {
    if (!is_urgent(options_.end, id))
        return;
    // For queues that go by it: pfifo_fast, prio, mqprio, and fq from Linux 6.7 on.
    constexpr int priority = TC_PRIO_INTERACTIVE;
    (void)::setsockopt(socket, SOL_SOCKET, SO_PRIORITY, &priority, sizeof priority);
    util::set_mark(socket, mark_);
}

Result<void> Channels::attach(ChannelId id, Connection connection, Deadline deadline) {
    Line& to = line(id);
    set_priority(id, connection.fd());
    if (raw_) {
        if (to.channel)
            return fail(ErrorKind::io, "channel '{}' is already open", name(id));
        GC_TRY(to.channel, Channel::raw(std::move(connection)));
        to.opened = true;
        return {};
    }
    if (auto attached = to.channel->attach(std::move(connection), deadline); !attached) {
        unknown_ = unknown_ || attached.error().kind == ErrorKind::unsupported;
        return attached;
    }
    note_connected(id);
    return {};
}

Result<void> Channels::open(std::span<const ChannelId> wanted, Deadline deadline) {
    for (const ChannelId id : wanted) {
        line(id).wanted = true;
        line(id).wake->signal();
    }
    const auto open = [this](ChannelId id) { return opened(id); };
    while (!std::ranges::all_of(wanted, open)) {
        if (deadline.expired() || gone_for() > Clock::duration::zero())
            return Unexpected(cause());
        std::this_thread::sleep_for(1ms);
    }
    return {};
}

// ---- the threads that connect

void Channels::keep_connected(ChannelId id) {
    Line& mine = line(id);
    auto pause = min_pause;
    auto dial_time = min_dial_time;
    while (!stopping_) {
        if ((!mine.opened && !mine.wanted) || mine.channel->connected() || mine.channel->over() ||
            unknown_) {
            mine.wake->wait(1s);
            pause = min_pause;
            dial_time = min_dial_time;
        } else if (!try_connect(id, dial_time)) {
            (void)wait_readable(stop_.fd(), pause);
            pause = std::min(2 * pause, max_pause);
            dial_time = std::min(2 * dial_time, max_dial_time);
        }
    }
}

Result<void> Channels::try_connect(ChannelId id, std::chrono::milliseconds dial_time) {
    Result<void> done = [&]() -> Result<void> {
        GC_TRY(Connection connection, options_.dial(id, opened(id), dial_time));
        return attach(id, std::move(connection), attach_timeout);
    }();
    if (!done && !stopping_)
        note_failure(done.error());
    return done;
}

void Channels::note_loss(ChannelId id, const Error& cause) {
    line(id).ended_there = is_end(cause);
    // A line that needs no connection any more says nothing of the other gcctl.
    std::array<bool, channel_count> over{};
    for (const ChannelId each : channel_ids)
        over[static_cast<std::size_t>(each)] =
            each != id && line(each).opened && line(each).channel->over();
    {
        const std::lock_guard lock(mutex_);
        cause_ = cause;
        if (!std::exchange(line(id).missing, true) && missing_++ == 0)
            missing_since_ = Clock::now();
        const bool ended = std::ranges::all_of(channel_ids, [&](ChannelId each) {
            return !line(each).opened || line(each).ended_there ||
                   over[static_cast<std::size_t>(each)];
        });
        if (!options_.dial && ended && !gone_since_)
            gone_since_ = Clock::now();
    }
    ++lost_;
    news_.signal();
}

void Channels::note_failure(const Error& error) {
    const std::lock_guard lock(mutex_);
    cause_ = error;
    if (!is_refusal(error))
        gone_since_.reset();
    else if (!gone_since_)
        gone_since_ = Clock::now();
}

void Channels::note_connected(ChannelId id) {
    line(id).opened = true;
    line(id).ended_there = false;
    {
        const std::lock_guard lock(mutex_);
        gone_since_.reset();
        if (std::exchange(line(id).missing, false) && --missing_ == 0)
            missing_time_ += Clock::now() - missing_since_;
    }
    news_.signal();
}

// ---- for the owner's control loop

bool Channels::complete() const {
    return std::ranges::all_of(lines_, [](const Line& each) {
        return !each.opened || each.channel->connected() || each.channel->over();
    });
}

bool Channels::await_complete(Deadline deadline) const {
    while (!complete()) {
        if (deadline.expired())
            return false;
        std::this_thread::sleep_for(1ms);
    }
    return true;
}

Channels::Change Channels::update() {
    news_.clear();
    const auto now = Clock::now();
    const bool whole = complete();
    if (whole == !down_since_)
        return Change::none;
    if (!whole) {
        down_since_ = now;
        return Change::lost;
    }
    last_outage_ = now - *down_since_;
    down_since_.reset();
    return Change::back;
}

std::optional<Channels::Clock::duration> Channels::outage() const {
    return down_since_ ? std::optional(Clock::now() - *down_since_) : std::nullopt;
}

Error Channels::cause() const {
    const std::lock_guard lock(mutex_);
    return cause_;
}

Losses Channels::losses() const {
    // A line that ended meanwhile needs no connection.
    std::array<bool, channel_count> over{};
    std::ranges::transform(lines_, over.begin(),
                           [](const Line& each) { return each.opened && each.channel->over(); });
    const std::lock_guard lock(mutex_);
    bool missing = false;
    for (std::size_t i = 0; i < lines_.size(); ++i)
        missing = missing || (lines_[i].missing && !over[i]);
    return {lost_, missing_time_ + (missing ? Clock::now() - missing_since_ : Clock::duration{})};
}

Channels::Clock::duration Channels::gone_for() const {
    const std::lock_guard lock(mutex_);
    return gone_since_ ? Clock::now() - *gone_since_ : Clock::duration{};
}

}  // namespace gc::peer
