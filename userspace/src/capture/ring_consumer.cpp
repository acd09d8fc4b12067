// SPDX-License-Identifier: GPL-2.0-or-later
#include "capture/ring_consumer.h"

#include <algorithm>
#include <atomic>
#include <bit>

namespace gc::capture {
namespace {

// Pairs with the release in gc_ring_publish() (kmod/ring.h): records before head are complete.
std::uint64_t load_head(const gc_ring_producer& producer) {
    return __atomic_load_n(&producer.head, __ATOMIC_ACQUIRE);
}

// Pairs with the acquire in gc_ring_refresh_tail() (kmod/ring.h): our reads of the slots are done.
void store_tail(gc_ring_consumer& consumer, std::uint64_t tail) {
    __atomic_store_n(&consumer.tail, tail, __ATOMIC_RELEASE);
    // Pairs with the barrier in gc_ring_want_kick() (kmod/ring.h): either the producer sees this
    // tail before it sleeps, or kick_wanted() sees that it sleeps.
    std::atomic_thread_fence(std::memory_order_seq_cst);
}

}  // namespace

Result<RingConsumer> RingConsumer::attach(gc_ring_consumer& consumer,
                                          const gc_ring_producer& producer,
                                          std::span<const gc_record> records, std::uint64_t pages) {
    const std::uint32_t entries = __atomic_load_n(&producer.entries, __ATOMIC_RELAXED);
    const std::uint32_t record_size = __atomic_load_n(&producer.record_size, __ATOMIC_RELAXED);
    if (record_size != sizeof(gc_record))
        return fail(ErrorKind::protocol,
                    "expected records of {} bytes in the ring of guidecopy.ko, found {}; load the "
                    "module of the same release as this gcctl",
                    sizeof(gc_record), record_size);
    if (entries != records.size() || !std::has_single_bit(records.size()))
        return fail(ErrorKind::protocol,
                    "expected a ring of {} records from guidecopy.ko, found {}", records.size(),
                    entries);
    return RingConsumer(consumer, producer, records, pages,
                        __atomic_load_n(&consumer.tail, __ATOMIC_RELAXED));
}

bool RingConsumer::valid(const gc_record& record) const {
    return record.page < pages_ && record.kind >= GC_KIND_READ && record.kind <= GC_KIND_ANY &&
           record.order < 64 && (std::uint64_t{1} << record.order) <= pages_ - record.page;
}

Result<std::size_t> RingConsumer::read(std::span<Record> into) {
    const std::uint64_t head = load_head(*producer_);
    const std::uint64_t available = head - tail_;
    if (available > records_.size())
        return fail(ErrorKind::protocol,
                    "guidecopy.ko reports record {} as the next one, but {} were read and its ring "
                    "holds {}",
                    head, tail_, records_.size());
    const std::size_t count = std::min<std::uint64_t>(available, into.size());
    for (std::size_t i = 0; i < count; ++i) {
        const gc_record raw = records_[(tail_ + i) & (records_.size() - 1)];
        if (!valid(raw))
            return fail(ErrorKind::protocol,
                        "invalid record {} from guidecopy.ko: page {}, order {}, kind {} (expected "
                        "pages below {}, kinds {} to {})",
                        tail_ + i, std::uint64_t{raw.page}, std::uint16_t{raw.order},
                        std::uint16_t{raw.kind}, pages_, int{GC_KIND_READ}, int{GC_KIND_ANY});
        into[i] = Record{.page = raw.page,
                         .time_ns = raw.time_ns,
                         .tid = raw.tid,
                         .kind = static_cast<Kind>(raw.kind),
                         .order = static_cast<std::uint8_t>(raw.order),
                         .vcpu = raw.vcpu};
    }
    if (count != 0) {
        tail_ += count;
        store_tail(*consumer_, tail_);
    }
    return count;
}

bool RingConsumer::kick_wanted() const {
    return __atomic_load_n(&producer_->kick_wanted, __ATOMIC_RELAXED) != 0;
}

}  // namespace gc::capture
