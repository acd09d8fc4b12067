// SPDX-License-Identifier: GPL-2.0-or-later
// Live tracking by guidecopy.ko: which pages of a VM that runs already its vCPUs touch.
#pragma once

#include "capture/control.h"

#include <sys/types.h>

namespace gc::capture {

enum class TrackMode : std::uint8_t {
    order = GC_TRACK_ORDER,  ///< first touches in order, by the faults of vCPUs
    age = GC_TRACK_AGE,      ///< what was accessed since the last scan, by accessed bits
};

/// A range of the address space of the process that runs the VM, both multiples of 4 KiB.
struct AddressRange {
    std::uint64_t address = 0;
    std::uint64_t length = 0;
};

/// The descriptor of the KVM VM that a process runs, as our own. Errors: unsupported when the
/// process runs none (TCG) or may not be looked at, io when it has ended.
Result<UniqueFd> vm_of_process(pid_t pid);

class Track final : public RecordSource {
  public:
    /// Arms all pages of the ranges, which are numbered through in their order. The ring has room
    /// for a record of each page. The track ends with this object.
    /// Errors: unsupported when the module is absent or refuses the VM, io when the VM is gone.
    static Result<Track> create(int vm, TrackMode mode, std::span<const AddressRange> ranges);

    Track(Track&&) = default;
    Track& operator=(Track&&) = default;

    [[nodiscard]] std::uint64_t pages() const { return pages_; }

    /// POLLHUP when the VM's process is gone.
    [[nodiscard]] int fd() const override { return control_.get(); }
    Result<std::size_t> read(std::span<Record> into) override {
        return ring_.read(control_.get(), into);
    }
    Result<Stats> stats() override { return read_stats(control_.get()); }

    /// The next access to each page makes a record again. Records that are not read yet stay.
    Result<void> rearm() { return rearm_pages(control_.get(), 0, pages_); }

    /// TrackMode::age: records what was accessed since the last scan. Needs an empty ring to do all
    /// pages. @return the page to go on from; 0 when all have been looked at
    Result<std::uint64_t> scan(std::uint64_t from = 0);

  private:
    Track(UniqueFd control, Ring ring, std::uint64_t pages)
        : control_(std::move(control)), ring_(std::move(ring)), pages_(pages) {}

    UniqueFd control_;
    Ring ring_;
    std::uint64_t pages_;
};

}  // namespace gc::capture
