// SPDX-License-Identifier: GPL-2.0-or-later
// Times the destination's page faults where they happen: from the request that its QEMU sends until
// its QEMU has been given the page. It only listens to what the relays carry.
#pragma once

#include "receive/record_scanner.h"
#include "report/histogram.h"
#include "stream/return_path.h"
#include "util/read_buffer.h"

#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace gc::receive {

/// Sees nothing of pre-copy, which is most of a stream: nobody waits for a page before switch-over.
/// Thread-safe: three relays feed it.
class DemandMeter {
  public:
    /// A host page of the destination, by its last target page.
    struct Page {
        std::string block;
        std::uint64_t offset = 0;
    };

    /// Whether this end has the page, so that the request is no demand fault.
    using IsLocal = std::function<bool(const stream::PageRequest&)>;

    /// What QEMU is about to send to the source.
    void saw_requests(std::span<const std::byte> bytes, const IsLocal& is_local = nullptr);
    /// QEMU has been given all of the device state.
    void saw_switch_over();
    /// Sections of RAM that QEMU has been given on its main channel after that.
    void saw_sections(std::span<const std::byte> bytes);
    /// What QEMU has been given on its preempt channel.
    void saw_urgent(std::span<const std::byte> bytes);

    /// What was counted so far; up to the point where a stream could not be understood.
    [[nodiscard]] report::Demand result() const;
    /// All pages that were ever requested of the source.
    [[nodiscard]] std::vector<Page> asked() const;
    /// Why counting ended early, or an empty string.
    [[nodiscard]] std::string problem() const;

  private:
    using Clock = std::chrono::steady_clock;

    void scan(RecordScanner& scanner, std::span<const std::byte> bytes);
    Result<void> read_requests(std::span<const std::byte>& input, const IsLocal& is_local);
    void requested(BlockPage page, bool local);
    void arrived(BlockPage page);

    mutable std::mutex mutex_;
    BlockIds blocks_;
    stream::ReturnPathReader requests_;
    ReadBuffer requests_buffer_;  ///< the beginning of a request
    RecordScanner sections_{RecordScanner::Start::section, blocks_,
                            [this](BlockPage page) { arrived(page); }};
    RecordScanner urgent_{RecordScanner::Start::record, blocks_,
                          [this](BlockPage page) { arrived(page); }};
    std::optional<Clock::time_point> begin_;  ///< the time of the switch-over
    struct Wait {
        Clock::time_point since;
        bool local;
    };
    std::map<BlockPage, Wait> waiting_;
    std::set<BlockPage> asked_;  ///< a repeated request is not another fault
    std::set<BlockPage> local_;  ///< the same of pages that this end had
    report::Demand demand_;
    std::string problem_;
};

}  // namespace gc::receive
