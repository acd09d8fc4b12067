// SPDX-License-Identifier: GPL-2.0-or-later
// Converts a track's records to the epochs of a trace.
#pragma once

#include "record/tracked_vm.h"

#include <chrono>

namespace gc::record {

class Recorder {
  public:
    using Clock = std::chrono::steady_clock;

    /// Starts the first epoch. @param vm must outlive this object
    explicit Recorder(TrackedVm& vm);

    /// The start of the epoch in progress.
    [[nodiscard]] Clock::time_point epoch_begin() const { return epoch_begin_; }

    /// Ends the epoch in progress and starts the next one. Of a VM that has ended, mode age has no
    /// more data, but mode order has the touches up to its end. Errors: io, protocol.
    Result<trace::Epoch> end_epoch();

  private:
    Result<void> collect(trace::Epoch& epoch);
    Result<void> drain(trace::Epoch& epoch);
    void add(trace::Epoch& epoch, const capture::Record& record);
    Result<void> count_lost(trace::Epoch& epoch);

    TrackedVm& vm_;
    Clock::time_point begin_;
    Clock::time_point epoch_begin_;
    capture::Stats counted_;
    std::vector<bool> seen_;  ///< pages seen in the epoch in progress
    std::vector<capture::Record> buffer_;
};

}  // namespace gc::record
