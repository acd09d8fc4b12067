// SPDX-License-Identifier: GPL-2.0-or-later
// Two channels and the wires between them, which break as a test plans it.
#pragma once

#include "peer/channel.h"
#include "util/socket.h"

#include <array>
#include <atomic>
#include <functional>
#include <future>
#include <gtest/gtest.h>
#include <limits>
#include <memory>
#include <random>
#include <sys/socket.h>
#include <thread>
#include <vector>

namespace gc::peer {

/// What happens to one connection. Index 0: from the near to the far end; 1: back.
struct Faults {
    static constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();
    std::array<std::uint64_t, 2> cut_after{never, never};     ///< bytes: both directions end
    std::array<std::uint64_t, 2> flip_at{never, never};       ///< this byte is changed
    std::array<std::uint64_t, 2> silent_after{never, never};  ///< bytes: the rest disappears
    bool tcp = false;
};

inline std::array<UniqueFd, 2> socket_pair() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

inline std::array<UniqueFd, 2> tcp_pair() {
    const UniqueFd listener = tcp_listen({"127.0.0.1", "0"}).value();
    const std::string port = std::to_string(local_port(listener.get()).value());
    UniqueFd here = tcp_connect({"127.0.0.1", port}, std::chrono::seconds(5)).value();
    return {std::move(here), accept_peer(listener.get()).value().fd};
}

/// Copies between two sockets, with faults. Its other ends are for the channels.
class BadWire {
  public:
    explicit BadWire(const Faults& faults) : faults_(faults) {
        for (int side : {0, 1}) {
            auto [outer, inner] = faults.tcp ? tcp_pair() : socket_pair();
            ends[side] = Connection(std::move(outer));
            inner_[side] = std::move(inner);
        }
        for (int direction : {0, 1})
            threads_[direction] = std::thread([this, direction] { copy(direction); });
    }
    ~BadWire() {
        cut();
        for (std::thread& thread : threads_)
            thread.join();
    }
    BadWire(const BadWire&) = delete;
    BadWire& operator=(const BadWire&) = delete;

    void cut() {
        for (const UniqueFd& fd : inner_)
            ::shutdown(fd.get(), SHUT_RDWR);
    }

    std::array<Connection, 2> ends;
    std::array<std::atomic<std::uint64_t>, 2> carried{};

  private:
    void copy(int direction) {
        std::vector<std::byte> buffer(65536);
        std::uint64_t position = 0;
        for (;;) {
            const std::uint64_t left = faults_.cut_after[direction] - position;
            if (left == 0)
                break;
            const auto room = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), left));
            const auto got = read_some(inner_[direction].get(), room);
            if (!got || *got == 0)
                break;
            const std::uint64_t flip = faults_.flip_at[direction];
            if (flip >= position && flip < position + *got)
                buffer[flip - position] ^= std::byte{0x10};
            const std::uint64_t silent = faults_.silent_after[direction];
            const std::uint64_t heard =
                silent <= position ? 0 : std::min<std::uint64_t>(*got, silent - position);
            if (!write_all(inner_[1 - direction].get(), room.first(heard)))
                break;
            position += *got;
            carried[direction] = position;
        }
        cut();
    }

    const Faults faults_;
    std::array<UniqueFd, 2> inner_;
    std::array<std::thread, 2> threads_;
};

/// Two channels that are connected by a new wire whenever one of them has lost the last.
class Link {
  public:
    using Plan = std::function<Faults(int attempt)>;

    explicit Link(Plan plan, Channel::Options near_options = {}, Channel::Options far_options = {})
        : plan_(std::move(plan)), wanted_(Waker::create().value()) {
        near = create(near_options);
        far = create(far_options);
    }
    ~Link() {
        ending_ = true;
        wanted_.signal();
        if (thread_.joinable())
            thread_.join();
        near->close();
        far->close();
    }
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;

    /// One attempt. @return whether both ends are attached
    bool connect() {
        const int attempt = attempts++;
        auto wire = std::make_unique<BadWire>(plan_ ? plan_(attempt) : Faults{});
        auto there = std::async(std::launch::async, [&] {
            return far->attach(std::move(wire->ends[1]), std::chrono::seconds(5));
        });
        const auto here = near->attach(std::move(wire->ends[0]), std::chrono::seconds(5));
        // Otherwise the other end waits for an answer until its deadline.
        if (!here)
            wire->cut();
        const auto other = there.get();
        if (!other)
            wire->cut();
        const std::lock_guard lock(wire_mutex_);
        wire_ = std::move(wire);
        return here && other;
    }
    /// Connects now and after each loss, until the link is destroyed.
    void keep_connected() {
        thread_ = std::thread([this] {
            while (!ending_) {
                while (!ending_ && !connect()) {
                }
                wanted_.wait(Deadline::never());
            }
        });
    }
    void cut() {
        const std::lock_guard lock(wire_mutex_);
        wire_->cut();
    }
    /// Not after keep_connected().
    [[nodiscard]] const BadWire& wire() const { return *wire_; }

    std::unique_ptr<Channel> near, far;
    std::atomic<int> attempts = 0;
    std::atomic<int> losses = 0;
    std::string cause;  ///< of the last loss, for tests in which only one end loses

  private:
    std::unique_ptr<Channel> create(Channel::Options options) {
        options.on_lost = [this](const Error& error) {
            const std::lock_guard lock(cause_mutex_);
            cause = error.message;
            ++losses;
            wanted_.signal();
        };
        return Channel::create(std::move(options)).value();
    }

    Plan plan_;
    Waker wanted_;
    std::mutex cause_mutex_;
    std::mutex wire_mutex_;
    std::unique_ptr<BadWire> wire_;
    std::atomic<bool> ending_ = false;
    std::thread thread_;
};

}  // namespace gc::peer
