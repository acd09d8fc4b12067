// SPDX-License-Identifier: GPL-2.0-or-later
#include "capture/control.h"

#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

namespace gc::capture {
namespace {

constexpr std::size_t page_size = std::size_t{1} << GC_PAGE_SHIFT;

Result<Mapping> map_part(int fd, std::size_t length, int prot, off_t offset, const char* what) {
    const std::size_t whole = (length + page_size - 1) / page_size * page_size;
    return Mapping::map(fd, whole, prot, MAP_SHARED, offset, what);
}

}  // namespace

Result<UniqueFd> open_control() {
    UniqueFd fd(::open(GC_DEVICE_PATH, O_RDWR | O_CLOEXEC));
    if (fd)
        return fd;
    const int saved = errno;
    switch (saved) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
        return fail(ErrorKind::unsupported, "{}: {}; load the module: modprobe guidecopy",
                    GC_DEVICE_PATH, std::strerror(saved));
    case EACCES:
    case EPERM:
        return fail(ErrorKind::unsupported,
                    "{}: {}; run as root, or join the group of guidecopy's udev rule: usermod -aG "
                    "guidecopy USER",
                    GC_DEVICE_PATH, std::strerror(saved));
    default:
        return fail_errno(saved, std::string("open ") + GC_DEVICE_PATH);
    }
}

std::string no_memory(std::uint64_t entries, std::uint64_t pages) {
    rlimit limit{};
    ::getrlimit(RLIMIT_MEMLOCK, &limit);
    const std::string allowed =
        limit.rlim_cur == RLIM_INFINITY ? "unlimited" : fmt::format("{} KiB", limit.rlim_cur >> 10);
    return fmt::format(
        "no memory, or more of it than RLIMIT_MEMLOCK allows: it takes about {} KiB for {} records "
        "and {} pages, the limit is {}; raise it (ulimit -l, or LimitMEMLOCK= of the unit) or run "
        "gcctl with CAP_IPC_LOCK",
        (entries * sizeof(gc_record) + pages / 8) >> 10, entries, pages, allowed);
}

std::string too_many() {
    return "this user has as many sessions and tracks as the parameter max_captures_per_user of "
           "guidecopy.ko allows; end some, raise it, or run gcctl with CAP_SYS_RESOURCE";
}

Result<Stats> read_stats(int fd) {
    auto arg = argument<gc_stats>();
    GC_CHECK(command(fd, GC_IOC_STATS, arg, "GC_IOC_STATS"));
    return Stats{.pages = arg.pages,
                 .touched = arg.touched,
                 .records = arg.records,
                 .rearmed = arg.rearmed,
                 .blocked = arg.blocked,
                 .blocked_ns = arg.blocked_ns,
                 .spilled = arg.spilled,
                 .dropped = arg.dropped,
                 .garbage = arg.garbage,
                 .waiting = arg.waiting,
                 .mappings = arg.mappings,
                 .copied = arg.copied,
                 .unresolved = arg.unresolved,
                 .unmapped = arg.unmapped};
}

Result<void> rearm_pages(int fd, std::uint64_t first, std::uint64_t count) {
    auto arg = argument<gc_rearm>();
    arg.first = first;
    arg.count = count;
    return command(fd, GC_IOC_REARM, arg, "GC_IOC_REARM");
}

Result<Ring> Ring::map(int fd, std::uint64_t pages) {
    GC_TRY(Mapping consumer, map_part(fd, page_size, PROT_READ | PROT_WRITE,
                                      GC_RING_CONSUMER_OFFSET, "the ring's consumer page"));
    GC_TRY(Mapping producer,
           map_part(fd, page_size, PROT_READ, GC_RING_PRODUCER_OFFSET, "the ring's producer page"));
    // The module chooses the size of a track's ring. mmap(2) checks the size: it refuses to map
    // beyond the ring.
    const auto& shared = *reinterpret_cast<const gc_ring_producer*>(producer.data());
    const std::size_t entries = __atomic_load_n(&shared.entries, __ATOMIC_RELAXED);
    GC_TRY(Mapping records, map_part(fd, entries * sizeof(gc_record), PROT_READ,
                                     GC_RING_RECORDS_OFFSET, "the ring's records"));
    GC_TRY(RingConsumer ring,
           RingConsumer::attach(*reinterpret_cast<gc_ring_consumer*>(consumer.data()), shared,
                                {reinterpret_cast<const gc_record*>(records.data()), entries},
                                pages));
    return Ring(std::move(consumer), std::move(producer), std::move(records), ring);
}

Result<std::size_t> Ring::read(int fd, std::span<Record> into) {
    GC_TRY(const std::size_t count, consumer_.read(into));
    if (count != 0 && consumer_.kick_wanted()) {
        auto arg = argument<gc_kick>();
        GC_CHECK(command(fd, GC_IOC_KICK, arg, "GC_IOC_KICK"));
    }
    return count;
}

}  // namespace gc::capture
