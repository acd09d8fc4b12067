// SPDX-License-Identifier: GPL-2.0-or-later
// A QEMU whose guest RAM is tracked, and the meaning of the track's page numbers.
#pragma once

#include "capture/track.h"
#include "qmp/client.h"
#include "trace/trace.h"

namespace gc::record {

class TrackedVm {
  public:
    /// Tracks all guest RAM of the QEMU at the other end of the connection. Pages are numbered like
    /// those of a trace: across all blocks, by position in the block, regardless of guest-physical
    /// addresses. Errors: those of qmp::ram_blocks() and capture::Track::create().
    static Result<TrackedVm> open(qmp::Client& client, capture::TrackMode mode);

    [[nodiscard]] const std::vector<trace::Block>& blocks() const { return blocks_; }
    [[nodiscard]] pid_t pid() const { return pid_; }
    [[nodiscard]] capture::TrackMode mode() const { return mode_; }
    capture::Track& track() { return track_; }

  private:
    TrackedVm(pid_t pid, capture::TrackMode mode, std::vector<trace::Block> blocks,
              capture::Track track)
        : pid_(pid), mode_(mode), blocks_(std::move(blocks)), track_(std::move(track)) {}

    pid_t pid_;
    capture::TrackMode mode_;
    std::vector<trace::Block> blocks_;
    capture::Track track_;
};

}  // namespace gc::record
