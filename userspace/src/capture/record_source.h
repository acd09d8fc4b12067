// SPDX-License-Identifier: GPL-2.0-or-later
// Where the guide's first touches come from: one interface in front of every way to capture them.
#pragma once

#include "util/error.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace gc::capture {

/// `any`: one of the others, seen by the accessed bit.
enum class Kind : std::uint8_t { read = 1, write = 2, exec = 3, any = 4 };

/// The first access to one page, or to one of the 2^order pages from `page` on.
struct Record {
    std::uint64_t page;     ///< index in the session or track, in pages of 4 KiB
    std::uint64_t time_ns;  ///< CLOCK_MONOTONIC
    std::uint32_t tid;      ///< of the accessing thread, in the initial PID namespace
    Kind kind;
    std::uint8_t order = 0;           ///< not 0 only in tracks of VMs in huge pages
    std::uint32_t vcpu = UINT32_MAX;  ///< id; UINT32_MAX: not known
};

struct Stats {
    std::uint64_t pages = 0;       ///< of the session
    std::uint64_t touched = 0;     ///< pages that have a record and were not re-armed since
    std::uint64_t records = 0;     ///< made since creation
    std::uint64_t rearmed = 0;     ///< pages that were touched and are armed again
    std::uint64_t blocked = 0;     ///< how often a thread of the guide waited for room in the ring
    std::uint64_t blocked_ns = 0;  ///< sum of those waits that are over
    std::uint64_t spilled = 0;  ///< records that the kernel had to keep outside the ring for a time
    std::uint64_t dropped = 0;  ///< a track's, when its ring was full; else 0
    std::uint64_t garbage = 0;  ///< bad consumer indices that the kernel saw
    std::uint64_t waiting = 0;  ///< threads that wait for room now
    std::uint64_t mappings = 0;    ///< mappings of the guide's memory that exist now
    std::uint64_t copied = 0;      ///< pages that the module keeps a copy of now
    std::uint64_t unresolved = 0;  ///< faults that tell nothing of the VM's memory; a track's only
    std::uint64_t unmapped = 0;    ///< pages that the VM's process has unmapped; a track's only
};

class RecordSource {
  public:
    virtual ~RecordSource() = default;

    /// Takes up to into.size() records that are there, in order; 0 when there are none. Does not
    /// block. Errors: protocol when what the producer says cannot be; the source is then of no use.
    virtual Result<std::size_t> read(std::span<Record> into) = 0;

    /// For poll(2): readable when read() would return records, POLLHUP when the guide is gone. It
    /// tells of many records together, so call read() once per poll, again only if that filled its
    /// span: reading until nothing is left means to spin beside a guide that runs.
    [[nodiscard]] virtual int fd() const = 0;

    virtual Result<Stats> stats() = 0;
};

/// The first touches of one RAM block; a record's page is a page of that block.
struct BlockRecords {
    std::string block;
    RecordSource* source;  ///< not owned
};

}  // namespace gc::capture
