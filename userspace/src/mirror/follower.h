// SPDX-License-Identifier: GPL-2.0-or-later
// Keeps a guide's TCP connections in step with those of its VM. No I/O, no clock.
//
// The guide gets a copy of each packet that arrives for the VM, and answers into its quarantine.
// The client hears only the VM, so what arrives acknowledges what the VM has sent. The guide may
// have sent less or more, or with other sequence numbers. Linux drops a segment that acknowledges
// what was never sent, and the client does not send it again. Therefore each copy acknowledges what
// the guide has sent so far. Nothing is held back, but what comes before the guide has answered the
// SYN of a new connection: an acknowledgement may be what the guide waits for.
//
// A copy is kept until the guide has taken it, since its tap may drop it. A copy that never came
// here is a hole that nobody fills; its connection is dead, and no more of it is shown to the
// guide.
#pragma once

#include "mirror/packet.h"

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <span>
#include <vector>

namespace gc::mirror {

struct FollowerCounts {
    std::uint64_t packets = 0;      ///< of clients, shown to the guide
    std::uint64_t bytes = 0;        ///< of them
    std::uint64_t again = 0;        ///< copies shown once more, since the guide had not taken them
    std::uint64_t answers = 0;      ///< packets that the guide sent
    std::uint64_t skipped = 0;      ///< packets of connections that are dead
    std::uint64_t connections = 0;  ///< on which the client sent something
    std::uint64_t in_step = 0;      ///< of them: the guide has taken something, and is not lost
    std::uint64_t dead = 0;         ///< of them: lost
};

struct FollowerLimits {
    std::size_t connections = 4096;
    std::size_t kept_of_each = std::size_t{256} << 10;  ///< bytes that the guide has not taken
    std::size_t kept = std::size_t{8} << 20;
};

class Follower {
  public:
    using Clock = std::chrono::steady_clock;
    /// Gives a packet, with its virtio header, to the guide. It may be lost on the way.
    using Inject = std::function<void(std::uint16_t nic, std::span<const std::byte> packet)>;

    /// A copy that the guide has not taken is shown again after this long, then after twice as
    /// long.
    static constexpr std::chrono::milliseconds patience{200};
    static constexpr std::chrono::milliseconds max_patience{3200};
    /// For a hole to be filled.
    static constexpr std::chrono::milliseconds hole_lasts{2000};

    explicit Follower(Inject inject, FollowerLimits limits = {})
        : inject_(std::move(inject)), limits_(limits) {}

    /// @param packet with its virtio header; modified. Any bytes.
    void from_client(std::uint16_t nic, std::span<std::byte> packet, Clock::time_point now);
    /// @param frame without a virtio header; at least its headers. Any bytes.
    void from_guide(std::uint16_t nic, std::span<const std::byte> frame, Clock::time_point now);
    /// The destination has left out a packet with these headers, and shows no more of its
    /// connection.
    void left_out(std::uint16_t nic, std::span<const std::byte> headers);
    /// To be called often: each patience, or more often.
    void tick(Clock::time_point now);

    [[nodiscard]] const FollowerCounts& counts() const { return counts_; }
    [[nodiscard]] std::size_t kept() const { return kept_; }

  private:
    struct Kept {
        Segment segment;
        std::vector<std::byte> packet;
    };
    struct Connection {
        bool counted = false;  ///< the client has sent something
        bool known = false;    ///< the guide has sent something
        bool held = false;     ///< nothing is shown until the guide is known
        bool dead = false;
        bool in_step = false;
        bool has_taken = false;
        bool client_done = false;  ///< the client has sent FIN
        std::uint32_t next = 0;    ///< of the guide: what it will send
        std::uint32_t taken = 0;   ///< of the guide: what it has of the client's, with has_taken
        unsigned repeated = 0;     ///< how often the guide has said the same
        std::deque<Kept> kept;
        std::size_t kept_bytes = 0;
        Clock::time_point waits_since{};
        Clock::time_point hole_since = Clock::time_point::max();
        std::chrono::milliseconds waits_for = patience;
        std::list<Flow>::iterator used;
    };
    using Table = std::map<Flow, Connection>;

    Connection& connection(const Flow& flow, Clock::time_point now);
    static Kept& first_kept(Connection& of);
    void drop_kept(Connection& of);
    /// Drops those for which the function returns true.
    void drop_kept_if(Connection& of, const std::function<bool(const Segment&)>& dropped);
    void die(Connection& of);
    void restart(Connection& of, Clock::time_point now);
    void keep(Connection& of, const Segment& segment, std::span<const std::byte> packet);
    void make_room();
    void show(const Connection& of, const Segment& segment, std::span<std::byte> packet);
    void show_again(Connection& of, Kept& kept);
    void became_known(Connection& of);
    void acknowledged(Connection& of, const Segment& segment, Clock::time_point now);
    void check(Connection& of, Clock::time_point now);

    Inject inject_;
    FollowerLimits limits_;
    Table table_;
    std::list<Flow> used_;  ///< least recently used first
    std::size_t kept_ = 0;
    FollowerCounts counts_;
};

}  // namespace gc::mirror
