// SPDX-License-Identifier: GPL-2.0-or-later
// A destination without a VM: it reads a source's stream and requests pages, as QEMU would for a VM
// that touches them. Its peer is a source QEMU or `gcctl migrate`.
#pragma once

#include "peer/channels.h"
#include "peer/control.h"
#include "receive/offered_keys.h"
#include "stream/reader.h"
#include "stream/writer.h"
#include "util/error.h"
#include "util/fd.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

namespace gc::bench {

/// The peer that sends.
enum class Sender {
    qemu,   ///< unmodified, with postcopy-preempt
    gcctl,  ///< gcctl between that QEMU and this destination
};

class SyntheticDestination {
  public:
    using Clock = std::chrono::steady_clock;

    /// Listens on a free port of the loopback.
    /// @param pages number of pages of the RAM block from which pages are requested
    /// @param credentials for connections with TLS
    static Result<std::unique_ptr<SyntheticDestination>>
    listen(Sender sender, std::string block, std::uint64_t pages,
           std::optional<tls::Credentials> credentials = std::nullopt);
    ~SyntheticDestination();
    SyntheticDestination(const SyntheticDestination&) = delete;
    SyntheticDestination& operator=(const SyntheticDestination&) = delete;

    [[nodiscard]] std::uint16_t port() const { return port_; }

    /// Accepts the source's connections and reads its stream until pages may be requested. Errors:
    /// io (also on timeout), protocol.
    Result<void> accept(std::chrono::milliseconds timeout);

    /// The same for a pure pre-copy source: reads up to its last page.
    Result<void> accept_precopy(std::chrono::milliseconds timeout);

    [[nodiscard]] bool has(std::uint64_t page) const {
        return have_[page].load(std::memory_order_acquire);
    }
    /// Requests a missing page. @return the time from the request until the whole page has arrived;
    /// zero if it had arrived by itself meanwhile
    Result<Clock::duration> fetch(std::uint64_t page);

    /// Waits until the source has ended its stream, and reports success to it. Errors: io.
    Result<void> wait_end(std::chrono::milliseconds timeout);

    /// Ends all connections and refuses others. For a gcctl after accept().
    void cut();
    /// Accepts the channels' connections again. @return the time until the next page has arrived
    Result<Clock::duration> restore(std::chrono::milliseconds timeout);

    /// Bytes received on all channels, and pages of the block.
    [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
    [[nodiscard]] std::uint64_t pages() const { return received_; }

  private:
    SyntheticDestination(Sender sender, std::string block, std::uint64_t pages,
                         std::optional<tls::Credentials> credentials)
        : sender_(sender), block_(std::move(block)), credentials_(std::move(credentials)),
          have_(pages) {}
    /// Accepts a connection, with TLS if there are credentials.
    Result<peer::Connection> accept_connection(Clock::time_point deadline);

    /// @param urgent whether the source opens a channel for urgent pages
    Result<void> start(bool urgent, Clock::time_point deadline);
    Result<void> take_channels(bool urgent, Clock::time_point deadline);
    Result<void> greet_gcctl(Clock::time_point deadline);
    /// Accepts a connection of gcctl's and gives it to its channel.
    Result<void> greet_channel(Clock::time_point deadline);
    Result<void> wait_for(const std::atomic<bool>& what, std::string_view name,
                          Clock::time_point deadline);
    /// The bodies of the threads.
    Result<void> read_main();
    Result<void> read_urgent();
    Result<void> read_bulk();
    Result<void> read_control();
    /// Reads a channel's bytes until its end, without the frames' heads.
    template <typename Take> Result<void> read_channel(peer::ChannelId id, bool framed, Take take);
    peer::Channel& channel(peer::ChannelId id) { return (*channels_)[id]; }
    Result<void> on_main_item(const stream::Item& item);
    void on_page(const stream::Item& item, Clock::time_point at);
    Result<void> say(const stream::Buffer& bytes);

    Sender sender_;
    std::string block_;
    std::optional<tls::Credentials> credentials_;
    receive::OfferedKeys keys_;  ///< of the channels after control
    std::vector<std::atomic<bool>> have_;
    std::uint16_t port_ = 0;
    UniqueFd listener_;
    std::shared_ptr<peer::Channels> channels_;  ///< raw ones of a QEMU
    std::optional<peer::Control> control_;
    std::mutex say_mutex_;
    stream::Buffer opening_;  ///< the start of section "ram", for the reader of bulk
    std::uint32_t ram_section_ = 0;
    std::atomic<std::uint64_t> awaited_ = UINT64_MAX;
    Clock::time_point awaited_at_{};
    std::binary_semaphore arrived_{0};
    std::vector<UniqueFd> connections_;  ///< duplicates, for cut()
    std::atomic<bool> back_ = true;      ///< a page has arrived since restore()
    Clock::time_point back_at_{};        ///< when it did
    std::atomic<std::uint64_t> bytes_ = 0;
    std::atomic<std::uint64_t> received_ = 0;
    std::atomic<bool> all_here_ = false;  ///< all pages of the block have arrived
    std::atomic<bool> ready_ = false;     ///< pages may be requested
    std::atomic<bool> ended_ = false;     ///< the stream has ended
    std::atomic<bool> stopping_ = false;
    std::mutex problem_mutex_;
    std::optional<Error> problem_;  ///< the first error of any thread
    std::vector<std::thread> threads_;
};

}  // namespace gc::bench
