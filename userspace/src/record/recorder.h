// SPDX-License-Identifier: GPL-2.0-or-later
// Turns a track's records into the epochs of a trace.
#pragma once

#include "record/tracked_vm.h"

#include <chrono>

namespace gc::record {

class Recorder {
  public:
    using Clock = std::chrono::steady_clock;

    /// Begins the first epoch. @param vm outlives this object
    explicit Recorder(TrackedVm& vm);

    /// When the epoch under way began.
    [[nodiscard]] Clock::time_point epoch_begin() const { return epoch_begin_; }

    /// Ends the epoch under way, and begins the next. Of a VM that is gone there is no more age to
    /// be had, but the order up to its end. Errors: io, protocol.
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
    std::vector<bool> seen_;  ///< pages of the epoch under way
    std::vector<capture::Record> buffer_;
};

}  // namespace gc::record
