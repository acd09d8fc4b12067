// SPDX-License-Identifier: GPL-2.0-or-later
// What a byte on the link costs in time, as measured by the threads that send: how long they waited
// and wrote, for each byte. A byte that need not be sent saves as much.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>

namespace gc::transfer {

/// Thread-safe.
class LinkCost {
  public:
    using Duration = std::chrono::nanoseconds;
    /// In nanoseconds. 1 is a link of 8 Gbit/s.
    struct PerByte {
        double link = 0;   ///< what the link makes everybody wait
        double limit = 0;  ///< what gcctl waits by itself, for `--bandwidth`
    };

    /// The link held a thread up.
    void waited(Duration time) {
        const std::lock_guard lock(mutex_);
        link_ += ns(time);
    }
    /// A thread waited to keep to the bandwidth.
    void rested(Duration time) {
        const std::lock_guard lock(mutex_);
        limit_ += ns(time);
    }
    /// Bytes were written, which took this long.
    void sent(std::uint64_t bytes, Duration time) {
        const std::lock_guard lock(mutex_);
        link_ += ns(time);
        bytes_ += static_cast<double>(bytes);
        // Forgets by bytes: frames have any size.
        if (bytes_ > memory) {
            const double keep = memory / bytes_;
            link_ *= keep;
            limit_ *= keep;
            bytes_ = memory;
        }
    }

    [[nodiscard]] PerByte per_byte() const {
        const std::lock_guard lock(mutex_);
        if (bytes_ == 0)
            return {};
        return {link_ / bytes_, limit_ / bytes_};
    }

  private:
    static double ns(Duration time) { return static_cast<double>(time.count()); }

    /// Bytes: a few dozen frames of bulk, as they are or compressed.
    static constexpr double memory = 4 << 20;

    mutable std::mutex mutex_;
    double link_ = 0;
    double limit_ = 0;
    double bytes_ = 0;
};

}  // namespace gc::transfer
