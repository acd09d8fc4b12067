// SPDX-License-Identifier: GPL-2.0-or-later
// Live tracking by guidecopy.ko: the pages that the vCPUs of a running VM touch.
#pragma once

#include "capture/control.h"

#include <sys/types.h>

namespace gc::capture {

enum class TrackMode : std::uint8_t {
    order = GC_TRACK_ORDER,  ///< first touches in order, from the page faults of vCPUs
    age = GC_TRACK_AGE,      ///< pages accessed since the last scan, from accessed bits
};

/// A range in the address space of the process that runs the VM. Both values are multiples of 4
/// KiB.
struct AddressRange {
    std::uint64_t address = 0;
    std::uint64_t length = 0;
};

/// A copy of the descriptor of the KVM VM that a process runs. Errors: unsupported, if the process
/// runs none (TCG) or may not be inspected; io, if it has ended.
Result<UniqueFd> vm_of_process(pid_t pid);

class Track final : public RecordSource {
  public:
    /// Arms all pages of the ranges and numbers them in order. The ring has room for one record per
    /// page. The track ends with this object. Errors: unsupported, if the module is not loaded or
    /// rejects the VM; io, if the VM has ended.
    static Result<Track> create(int vm, TrackMode mode, std::span<const AddressRange> ranges);

    Track(Track&&) = default;
    Track& operator=(Track&&) = default;

    [[nodiscard]] std::uint64_t pages() const { return pages_; }

    /// Reports POLLHUP once the VM's process has ended.
    [[nodiscard]] int fd() const override { return control_.get(); }
    Result<std::size_t> read(std::span<Record> into) override {
        return ring_.read(control_.get(), into);
    }
    Result<Stats> stats() override { return read_stats(control_.get()); }

    /// Makes the next access to each page create a record again. Unread records remain.
    Result<void> rearm() { return rearm_pages(control_.get(), 0, pages_); }

    /// TrackMode::age: records the pages accessed since the last scan. Covers all pages only if the
    /// ring is empty. @return the page from which to continue, or 0 once all were scanned
    Result<std::uint64_t> scan(std::uint64_t from = 0);

  private:
    Track(UniqueFd control, Ring ring, std::uint64_t pages)
        : control_(std::move(control)), ring_(std::move(ring)), pages_(pages) {}

    UniqueFd control_;
    Ring ring_;
    std::uint64_t pages_;
};

}  // namespace gc::capture
