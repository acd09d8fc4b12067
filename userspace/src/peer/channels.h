// SPDX-License-Identifier: GPL-2.0-or-later
// The channels of one migration at one end: keeps them alive, connects them again, and knows for
// how long they have been without connections.
#pragma once

#include "peer/channel.h"
#include "peer/conversation.h"
#include "peer/heartbeat.h"
#include "peer/hello.h"

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>

namespace gc::peer {

/// How often connections were lost in a migration, and for how long there was at least one too few.
struct Losses {
    std::uint64_t count = 0;
    std::chrono::steady_clock::duration time{};
};

class Channels {
  public:
    using Clock = Channel::Clock;
    /// Makes a connection for a channel and says hello on it. From several threads.
    /// @param resume whether the channel had a connection before
    using Dial =
        std::function<Result<Connection>(ChannelId channel, bool resume, Deadline deadline)>;

    struct Options {
        End end = End::source;
        std::size_t max_copied = std::size_t{8} << 20;  ///< of each channel, see Channel::Options
        Dial dial;  ///< of the end that connects again; the other one gets connections by attach()
    };

    /// Without a connection, control messages are kept up to this size, so that their writer never
    /// waits.
    static constexpr std::size_t max_unsent_control = std::size_t{16} << 20;
    /// The same for packets on mirror and forward; the writer leaves out those that would exceed
    /// it.
    static constexpr std::size_t max_unsent_packets = std::size_t{2} << 20;
    /// For both ends to say what they have, once a connection is there.
    static constexpr std::chrono::seconds attach_timeout{5};

    /// Channels with records, which outlive their connections. Errors: io (no descriptors).
    static Result<std::shared_ptr<Channels>> create(Options options);
    /// Raw channels, see Channel::raw().
    static Result<std::shared_ptr<Channels>> raw(End end);
    /// Closes all channels.
    ~Channels();
    Channels(const Channels&) = delete;
    Channels& operator=(const Channels&) = delete;

    [[nodiscard]] bool are_raw() const { return raw_; }
    /// Not for a raw channel before attach().
    Channel& operator[](ChannelId id) { return *line(id).channel; }
    /// The SO_MARK of later connections whose every byte a VM may wait for. From any thread.
    void set_mark(std::uint32_t mark) { mark_ = mark; }
    /// Whether the channel had a connection at least once. From any thread.
    [[nodiscard]] bool opened(ChannelId id) const { return line(id).opened; }

    /// The first connection of a channel, or a later one. From any thread, except for raw channels.
    /// Errors: those of Channel::attach(); io, if a raw channel has its connection.
    Result<void> attach(ChannelId id, Connection connection, Deadline deadline);
    /// Dials channels for the first time and waits until they are connected. Not for raw channels.
    /// Errors: those of the last attempt, when the deadline has passed or the other end refused.
    Result<void> open(std::span<const ChannelId> ids, Deadline deadline);
    /// Waits until no connection is missing. @return whether none is
    bool await_complete(Deadline deadline) const;
    /// Makes every read and write fail. Connects no more. From any thread.
    void shut_down();

    // ---- for the owner's control loop

    enum class Change : std::uint8_t { none, lost, back };
    /// Readable when update() may have news.
    [[nodiscard]] int fd() const { return news_.fd(); }
    /// Takes the news. @return `lost` if a connection is missing and none was before; `back` if all
    /// are there again
    Change update();
    /// How long a connection has been missing; nullopt if none is. As of the last update().
    [[nodiscard]] std::optional<Clock::duration> outage() const;
    /// The length of the outage that ended last.
    [[nodiscard]] Clock::duration last_outage() const { return last_outage_; }
    /// Why the last connection was lost or could not be made. From any thread.
    [[nodiscard]] Error cause() const;
    /// Counts also what was over before update() could see it. From any thread.
    [[nodiscard]] Losses losses() const;
    /// For how long all has looked as if the other gcctl had ended, on a host that is there: each
    /// attempt to connect was refused, or, at the end that does not connect, the other host ended
    /// all connections, and none came again. Zero for a silent network. From any thread.
    [[nodiscard]] Clock::duration gone_for() const;
    /// The other gcctl answered that it does not know this migration. From any thread.
    [[nodiscard]] bool unknown_there() const { return unknown_; }

  private:
    struct Line {
        std::unique_ptr<Channel> channel;
        std::atomic<bool> opened = false;       ///< had a connection
        std::atomic<bool> wanted = false;       ///< by open()
        std::atomic<bool> ended_there = false;  ///< the last connection, by the other host
        std::optional<Waker> wake;              ///< of the thread
        std::thread thread;                     ///< connects
        bool missing = false;                   ///< protected by mutex_: has lost its connection
    };

    Channels(Options options, Waker news, Waker stop)
        : options_(std::move(options)), news_(std::move(news)), stop_(std::move(stop)) {}
    Line& line(ChannelId id) { return lines_[static_cast<std::size_t>(id)]; }
    [[nodiscard]] const Line& line(ChannelId id) const {
        return lines_[static_cast<std::size_t>(id)];
    }
    static std::size_t max_unsent(ChannelId id);
    void set_priority(ChannelId id, int socket) const;
    Result<void> create_line(ChannelId id);
    void keep_connected(ChannelId id);
    Result<void> try_connect(ChannelId id, std::chrono::milliseconds dial_time);
    void note_loss(ChannelId id, const Error& cause);
    void note_failure(const Error& error);
    void note_connected(ChannelId id);
    [[nodiscard]] bool complete() const;

    const Options options_;
    bool raw_ = false;
    std::atomic<std::uint32_t> mark_ = 0;  ///< 0: none
    Waker news_;
    Waker stop_;
    std::atomic<bool> stopping_ = false;
    std::atomic<bool> unknown_ = false;
    std::array<Line, channel_count> lines_;
    std::optional<Heartbeat> heartbeat_;
    mutable std::mutex mutex_;  ///< protects the next ones
    Error cause_;
    std::optional<Clock::time_point> gone_since_;
    unsigned missing_ = 0;               ///< lines
    Clock::time_point missing_since_{};  ///< if there are any
    Clock::duration missing_time_{};     ///< of earlier ones
    std::atomic<std::uint64_t> lost_ = 0;
    // Of the control loop.
    std::optional<Clock::time_point> down_since_;
    Clock::duration last_outage_{};
};

}  // namespace gc::peer
