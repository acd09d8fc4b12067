// SPDX-License-Identifier: GPL-2.0-or-later
// Times the destination's page faults where they happen: from the request that its QEMU sends to
// the page that its QEMU is handed. It only listens to what the relays carry.
#pragma once

#include "report/histogram.h"
#include "stream/reader.h"
#include "stream/return_path.h"

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace gc::receive {

/// Thread-safe: three relays feed it.
class DemandMeter {
  public:
    /// A host page of the destination, by its last target page.
    struct Page {
        std::string block;
        std::uint64_t offset = 0;
        // NOLINTNEXTLINE(modernize-use-nullptr): what it sees is the 0 of the comparison
        auto operator<=>(const Page&) const = default;
    };

    /// What QEMU sends to the source.
    void saw_requests(std::span<const std::byte> bytes);
    /// What QEMU was handed on its main channel, and on the urgent one.
    void saw_main(std::span<const std::byte> bytes);
    void saw_urgent(std::span<const std::byte> bytes);

    /// What was counted so far; up to the point where a stream could not be understood.
    [[nodiscard]] report::Demand result() const;
    /// All that was ever requested.
    [[nodiscard]] std::set<Page> asked() const;
    /// Why counting ended early, or an empty string.
    [[nodiscard]] std::string problem() const;

  private:
    using Clock = std::chrono::steady_clock;

    template <typename Reader, typename Handle>
    void follow(Reader& reader, std::vector<std::byte>& buffer, std::span<const std::byte> bytes,
                Handle handle);
    void arrived(const stream::Item& item);

    mutable std::mutex mutex_;
    stream::ReturnPathReader requests_;
    stream::Reader main_;
    stream::Reader urgent_{stream::Start::records};
    std::vector<std::byte> requests_buffer_, main_buffer_, urgent_buffer_;
    std::optional<Clock::time_point> begin_;  ///< the device state is there
    std::map<Page, Clock::time_point> waiting_;
    std::set<Page> asked_;  ///< a second request is no second fault
    report::Demand demand_;
    std::string problem_;
};

}  // namespace gc::receive
