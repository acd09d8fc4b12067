// SPDX-License-Identifier: GPL-2.0-or-later
// The consumer of the module's ring. Works on plain memory, without descriptors or system calls.
#pragma once

#include "capture/record_source.h"

#include <guidecopy.h>

namespace gc::capture {

/// The only reader of a ring. The caller owns the memory, which must outlive this object.
class RingConsumer {
  public:
    /// @param pages size of the session; a record for a page beyond it is an error
    /// Errors: protocol, if the producer page describes a different ring than `records`.
    static Result<RingConsumer> attach(gc_ring_consumer& consumer, const gc_ring_producer& producer,
                                       std::span<const gc_record> records, std::uint64_t pages);

    /// Reads up to into.size() records and releases their slots. Errors: protocol, for an
    /// impossible head, a page beyond the session, or an unknown kind; nothing is consumed then.
    Result<std::size_t> read(std::span<Record> into);

    /// Whether the producer waits for the room that read() made: the caller must then kick it.
    /// Check after every read() that returned records, or the producer may sleep forever.
    [[nodiscard]] bool kick_wanted() const;

  private:
    RingConsumer(gc_ring_consumer& consumer, const gc_ring_producer& producer,
                 std::span<const gc_record> records, std::uint64_t pages, std::uint64_t tail)
        : consumer_(&consumer), producer_(&producer), records_(records), pages_(pages),
          tail_(tail) {}

    [[nodiscard]] bool valid(const gc_record& record) const;

    gc_ring_consumer* consumer_;
    const gc_ring_producer* producer_;
    std::span<const gc_record> records_;
    std::uint64_t pages_;
    std::uint64_t tail_;  // private copy; the shared one is write-only
};

}  // namespace gc::capture
