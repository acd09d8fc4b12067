// SPDX-License-Identifier: GPL-2.0-or-later
// The source of the guide's first touches: the interface to all capture backends.
#pragma once

#include "util/error.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace gc::capture {

/// `any` is one of the other kinds, observed by the accessed bit.
enum class Kind : std::uint8_t { read = 1, write = 2, exec = 3, any = 4 };

/// The first access to a page, or to one of the 2^order pages from `page` on.
struct Record {
    std::uint64_t page;     ///< index in the session or track, in pages of 4 KiB
    std::uint64_t time_ns;  ///< CLOCK_MONOTONIC
    std::uint32_t tid;      ///< of the accessing thread, in the initial PID namespace
    Kind kind;
    std::uint8_t order = 0;           ///< nonzero only in tracks of VMs with huge pages
    std::uint32_t vcpu = UINT32_MAX;  ///< id; UINT32_MAX if unknown
};

struct Stats {
    std::uint64_t pages = 0;       ///< size of the session
    std::uint64_t touched = 0;     ///< pages that have a record and have not been re-armed since
    std::uint64_t records = 0;     ///< records made since creation
    std::uint64_t rearmed = 0;     ///< pages that were touched and are armed again
    std::uint64_t blocked = 0;     ///< number of times a thread of the guide waited for ring space
    std::uint64_t blocked_ns = 0;  ///< total length of completed waits
    std::uint64_t spilled = 0;     ///< records that the kernel kept outside the ring for a time
    std::uint64_t dropped = 0;     ///< records lost because the ring was full; tracks only
    std::uint64_t garbage = 0;     ///< invalid consumer indices that the kernel saw
    std::uint64_t waiting = 0;     ///< threads that are waiting for ring space
    std::uint64_t mappings = 0;    ///< current mappings of the guide's memory
    std::uint64_t copied = 0;      ///< pages of which the module holds a copy
    std::uint64_t unresolved =
        0;  ///< faults that could not be related to the VM's memory; tracks only
    std::uint64_t unmapped = 0;  ///< pages that the VM's process has unmapped; tracks only
};

class RecordSource {
  public:
    virtual ~RecordSource() = default;

    /// Reads up to into.size() available records in order, without blocking. @return 0 if none are
    /// available. Errors: protocol, if the producer reports an impossible state; the source is then
    /// unusable.
    virtual Result<std::size_t> read(std::span<Record> into) = 0;

    /// For poll(2): readable if read() would return records, POLLHUP if the guide has gone. Records
    /// are signalled in batches, so call read() once per poll, and again only if it filled the
    /// span: reading until nothing is left would spin beside a running guide.
    [[nodiscard]] virtual int fd() const = 0;

    virtual Result<Stats> stats() = 0;
};

/// The first touches of one RAM block; a record's page is a page of that block.
struct BlockRecords {
    std::string block;
    RecordSource* source;  ///< not owned
};

}  // namespace gc::capture
