// SPDX-License-Identifier: GPL-2.0-or-later
// How long the VM waited. Durations are in 24 power-of-two microsecond buckets, as QEMU's own
// postcopy-latency-dist has them (QEMU 10.1, qapi/migration.json).
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

namespace gc::report {

struct DemandReport;  // report/report.h

class Histogram {
  public:
    static constexpr std::size_t buckets = 24;

    /// Bucket i counts durations of [2^i, 2^(i+1)) us; the first also counts those below 1 us,
    /// the last all above.
    void add(std::chrono::nanoseconds duration);

    [[nodiscard]] std::uint64_t count() const { return count_; }
    [[nodiscard]] std::chrono::nanoseconds sum() const { return sum_; }
    /// The upper bound, in us, of the bucket that holds the quantile (0 < q <= 1); 0 if it is
    /// empty.
    [[nodiscard]] std::uint64_t quantile_us(double q) const;
    [[nodiscard]] const std::array<std::uint64_t, buckets>& counts() const { return counts_; }

  private:
    std::array<std::uint64_t, buckets> counts_{};
    std::uint64_t count_ = 0;
    std::chrono::nanoseconds sum_{0};
};

/// The number of events in each step of time.
class Timeline {
  public:
    static constexpr std::chrono::milliseconds step{100};
    static constexpr std::size_t steps = 36'000;  ///< an hour; later events count in the last step

    /// Counts an event at this time after the beginning.
    void add(std::chrono::nanoseconds at);

    /// Up to the last step in which something happened.
    [[nodiscard]] const std::vector<std::uint64_t>& counts() const { return counts_; }

  private:
    std::vector<std::uint64_t> counts_;
};

/// What the destination had to request. A demand fault is a distinct page that it requested of the
/// source.
struct Demand {
    std::uint64_t faults = 0;
    std::uint64_t local = 0;  ///< distinct pages that it was given without the source
    std::chrono::nanoseconds local_stall{0};  ///< as the sum of `stall`, of those
    Histogram stall;    ///< request seen at the destination host -> page handed to its QEMU
    Timeline timeline;  ///< of the faults, from the arrival of the device state on

    [[nodiscard]] DemandReport report() const;
};

}  // namespace gc::report
