// SPDX-License-Identifier: GPL-2.0-or-later
// The source's end of one connection: from the hello to its end.
#pragma once

#include "recover/frozen_source.h"
#include "recover/link.h"
#include "recover/options.h"
#include "transfer/pacer.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace gc::recover {

class Sending {
  public:
    Sending(FrozenSource& source, Link& link, const Options& options)
        : source_(source), link_(link), pacer_(options.bandwidth) {}
    ~Sending();
    Sending(const Sending&) = delete;
    Sending& operator=(const Sending&) = delete;

    /// Runs until the destination has everything. Errors: io, if the connection was lost, which
    /// another one may follow; others are final.
    /// @param id of the migration; empty if unknown
    Result<void> run(const std::string& id);
    /// Ends it, from any thread or a signal's handler thread.
    void stop() const { link_.shut_down(); }

    [[nodiscard]] std::uint64_t sent() const { return sent_; }

  private:
    Result<void> agree(const std::string& id);
    Result<Frame> expect(FrameKind kind, Deadline deadline);
    Result<void> check(const Description& there, const std::string& id) const;
    Result<void> take_bitmaps();
    Result<void> fetch();
    Result<void> send_all();
    /// The thread that receives.
    void listen();
    Result<void> take(const Frame& frame);
    /// The next thing to send: a request, or a page that nobody has asked for.
    std::optional<Request> next();
    std::optional<Request> next_unasked();
    Result<void> serve(const Request& request, bool asked);
    Result<void> send_pages(std::size_t block, std::uint64_t first, std::uint64_t end);
    [[nodiscard]] std::uint64_t missing() const;

    FrozenSource& source_;
    Link& link_;
    transfer::Pacer pacer_;
    std::vector<Block> blocks_;  ///< in the destination's order
    std::vector<PageSet> there_;
    bool done_before_ = false;  ///< the destination was complete
    std::size_t block_ = 0;     ///< where unasked pages go on
    std::uint64_t page_ = 0;
    std::uint64_t sent_ = 0;

    std::thread listener_;
    std::mutex mutex_;  ///< protects what follows
    std::condition_variable changed_;
    std::deque<Request> requests_;
    bool completed_ = false;
    bool stopping_ = false;
    Result<void> lost_;
};

}  // namespace gc::recover
