// SPDX-License-Identifier: GPL-2.0-or-later
#include "raw_capture.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <stdexcept>
#include <sys/ioctl.h>

namespace gc::capture::test {
namespace {

Mapping map_part(int fd, std::size_t length, int prot, off_t offset) {
    const std::size_t whole = (length + page_size - 1) / page_size * page_size;
    auto mapping = Mapping::map(fd, whole, prot, MAP_SHARED, offset, "the ring");
    if (!mapping)
        throw std::runtime_error(mapping.error().message);
    return std::move(*mapping);
}

}  // namespace

int errno_of(int fd, unsigned long request, void* argument) {
    return ::ioctl(fd, request, argument) == 0 ? 0 : errno;
}

UniqueFd open_control() {
    return UniqueFd(::open(GC_DEVICE_PATH, O_RDWR | O_CLOEXEC));
}

int RawCapture::create(gc_session_create arg) {
    if (const int error = errno_of(fd(), GC_IOC_SESSION_CREATE, &arg))
        return error;
    node_ = UniqueFd(arg.node_fd);
    map_ring();
    return 0;
}

int RawCapture::create(gc_track_create arg, const std::vector<gc_range>& ranges) {
    arg.ranges = reinterpret_cast<std::uintptr_t>(ranges.data());
    arg.range_count = static_cast<std::uint32_t>(ranges.size());
    if (const int error = errno_of(fd(), GC_IOC_TRACK_CREATE, &arg))
        return error;
    map_ring();
    return 0;
}

void RawCapture::map_ring() {
    consumer_ = map_part(fd(), page_size, PROT_READ | PROT_WRITE, GC_RING_CONSUMER_OFFSET);
    producer_ = map_part(fd(), page_size, PROT_READ, GC_RING_PRODUCER_OFFSET);
    const auto* producer = reinterpret_cast<const gc_ring_producer*>(producer_.data());
    records_ = map_part(fd(), std::size_t{producer->entries} * producer->record_size, PROT_READ,
                        GC_RING_RECORDS_OFFSET);
}

gc_stats RawCapture::stats() const {
    auto arg = argument<gc_stats>();
    if (errno_of(fd(), GC_IOC_STATS, &arg) != 0)
        throw std::runtime_error("GC_IOC_STATS");
    return arg;
}

int RawCapture::rearm(std::uint64_t first, std::uint64_t count) const {
    auto arg = argument<gc_rearm>();
    arg.first = first;
    arg.count = count;
    return errno_of(fd(), GC_IOC_REARM, &arg);
}

int RawCapture::scan(gc_scan& arg) const {
    return errno_of(fd(), GC_IOC_SCAN, &arg);
}

std::vector<gc_record> RawCapture::take() {
    const auto* producer = reinterpret_cast<const gc_ring_producer*>(producer_.data());
    auto* consumer = reinterpret_cast<gc_ring_consumer*>(consumer_.data());
    const auto* slots = reinterpret_cast<const gc_record*>(records_.data());
    std::vector<gc_record> taken;
    const std::uint64_t head = __atomic_load_n(&producer->head, __ATOMIC_ACQUIRE);
    for (; tail_ != head; ++tail_)
        taken.push_back(slots[tail_ & (producer->entries - 1)]);
    __atomic_store_n(&consumer->tail, tail_, __ATOMIC_RELEASE);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (__atomic_load_n(&producer->kick_wanted, __ATOMIC_RELAXED) != 0) {
        auto arg = argument<gc_kick>();
        (void)errno_of(fd(), GC_IOC_KICK, &arg);
    }
    return taken;
}

void RawCapture::close() {
    consumer_ = Mapping();
    producer_ = Mapping();
    records_ = Mapping();
    control_.reset();
}

std::vector<std::uint64_t> pages_of(const std::vector<gc_record>& records) {
    std::vector<std::uint64_t> pages;
    for (const gc_record& record : records)
        pages.push_back(record.page);
    return pages;
}

}  // namespace gc::capture::test
