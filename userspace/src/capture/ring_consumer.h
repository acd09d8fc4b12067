// SPDX-License-Identifier: GPL-2.0-or-later
// The reading side of the module's ring, over plain memory: no descriptor, no system call.
#pragma once

#include "capture/record_source.h"

#include <guidecopy.h>

namespace gc::capture {

/// The only reader of one ring. The memory belongs to the caller and must outlive it.
class RingConsumer {
  public:
    /// @param pages size of the session; a record of a page beyond it is an error
    /// Errors: protocol when the producer page describes another ring than `records`.
    static Result<RingConsumer> attach(gc_ring_consumer& consumer, const gc_ring_producer& producer,
                                       std::span<const gc_record> records, std::uint64_t pages);

    /// Takes up to into.size() records and gives their slots back. Errors: protocol on an
    /// impossible head, a page beyond the session or an unknown kind; nothing is consumed then.
    Result<std::size_t> read(std::span<Record> into);

    /// Somebody waits for the room that read() made: the caller must kick. To be asked after every
    /// read() that returned records, or a producer sleeps for ever.
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
    std::uint64_t tail_;  // our own copy: the shared one is write-only
};

}  // namespace gc::capture
