// SPDX-License-Identifier: GPL-2.0-or-later
#include "capture/session.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

namespace gc::capture {
namespace {

constexpr std::size_t page_size = std::size_t{1} << GC_PAGE_SHIFT;

/// Zeroed, with its size filled in.
template <typename T> T argument() {
    T value{};
    value.size = sizeof(T);
    return value;
}

template <typename T>
Result<void> command(int fd, unsigned long request, T& value, const char* name) {
    if (::ioctl(fd, request, &value) != 0)
        return fail_errno(errno, fmt::format("{}: {}", GC_DEVICE_PATH, name));
    return {};
}

Result<UniqueFd> open_control() {
    UniqueFd fd(::open(GC_DEVICE_PATH, O_RDWR | O_CLOEXEC));
    if (fd)
        return fd;
    const int saved = errno;
    switch (saved) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
        return fail(ErrorKind::unsupported, "{}: {}; load it with: modprobe guidecopy",
                    GC_DEVICE_PATH, std::strerror(saved));
    case EACCES:
    case EPERM:
        return fail(ErrorKind::unsupported,
                    "{}: {}; run as root, or join the group that the udev rule of guidecopy names: "
                    "usermod -aG guidecopy USER",
                    GC_DEVICE_PATH, std::strerror(saved));
    default:
        return fail_errno(saved, std::string("open ") + GC_DEVICE_PATH);
    }
}

/// What a refusal of GC_IOC_SESSION_CREATE means; the cases are those of guidecopy.h.
Unexpected refused(int saved, const gc_session_create& arg) {
    const bool process = (arg.flags & GC_SESSION_PROCESS) != 0;
    const std::string where =
        process ? fmt::format("0x{:x} of process {}", std::uint64_t{arg.backing_offset}, arg.pid)
                : fmt::format("{} of the memory file", std::uint64_t{arg.backing_offset});
    const auto because = [&](ErrorKind kind, std::string_view reason) {
        return fail(kind, "{}: cannot watch {} bytes at {}: {} ({})", GC_DEVICE_PATH,
                    std::uint64_t{arg.length}, where, reason, std::strerror(saved));
    };
    switch (saved) {
    case EOPNOTSUPP:
        return because(ErrorKind::unsupported,
                       "it is on hugetlbfs; a session over the memory of its process can watch it");
    case ENODEV:
        return because(ErrorKind::unsupported,
                       "it is no shared memory file; use memory-backend-memfd, or "
                       "memory-backend-file on tmpfs, with share=on");
    case ERANGE:
        return because(ErrorKind::io, process ? "it is not all readable memory"
                                              : "the range reaches beyond the end of the file");
    case ESRCH:
        return because(ErrorKind::io, "the process has ended");
    case EPERM:
        return because(ErrorKind::unsupported,
                       "its memory may not be read; run gcctl with CAP_SYS_PTRACE");
    case ENOBUFS:
        return because(ErrorKind::unsupported,
                       fmt::format("a ring of {} records is more than the parameter "
                                   "max_ring_entries of guidecopy.ko",
                                   arg.ring_entries));
    case ENOSPC:
        return because(ErrorKind::unsupported, "too many sessions");
    case EINVAL:
    case E2BIG:
        return because(ErrorKind::unsupported,
                       "size not a multiple of 4 KiB, ring size not a power of two, or a module "
                       "older than this gcctl");
    default:
        return because(ErrorKind::io, "GC_IOC_SESSION_CREATE failed");
    }
}

Result<Mapping> map_ring(int fd, std::size_t length, int prot, off_t offset, const char* what) {
    const std::size_t whole = (length + page_size - 1) / page_size * page_size;
    return Mapping::map(fd, whole, prot, MAP_SHARED, offset, what);
}

}  // namespace

Result<void> Session::probe() {
    GC_CHECK(open_control());
    return {};
}

Result<Session> Session::create(int backing_fd, std::uint64_t offset, std::uint64_t length,
                                std::uint32_t ring_entries) {
    auto arg = argument<gc_session_create>();
    arg.backing_fd = backing_fd;
    arg.ring_entries = ring_entries;
    arg.backing_offset = offset;
    arg.length = length;
    return create(arg);
}

Result<Session> Session::create_over_process(pid_t pid, std::uint64_t address, std::uint64_t length,
                                             std::uint32_t ring_entries) {
    auto arg = argument<gc_session_create>();
    arg.flags = GC_SESSION_PROCESS;
    arg.backing_fd = -1;
    arg.pid = pid;
    arg.ring_entries = ring_entries;
    arg.backing_offset = address;
    arg.length = length;
    return create(arg);
}

Result<Session> Session::create(gc_session_create arg) {
    GC_TRY(UniqueFd control, open_control());
    if (::ioctl(control.get(), GC_IOC_SESSION_CREATE, &arg) != 0)
        return refused(errno, arg);
    const std::size_t node_length = ::strnlen(arg.node, sizeof(arg.node));

    GC_TRY(Mapping consumer, map_ring(control.get(), page_size, PROT_READ | PROT_WRITE,
                                      GC_RING_CONSUMER_OFFSET, "the ring's consumer page"));
    GC_TRY(Mapping producer, map_ring(control.get(), page_size, PROT_READ, GC_RING_PRODUCER_OFFSET,
                                      "the ring's producer page"));
    GC_TRY(Mapping records, map_ring(control.get(), arg.ring_entries * sizeof(gc_record), PROT_READ,
                                     GC_RING_RECORDS_OFFSET, "the ring's records"));
    GC_TRY(
        RingConsumer ring,
        RingConsumer::attach(*reinterpret_cast<gc_ring_consumer*>(consumer.data()),
                             *reinterpret_cast<const gc_ring_producer*>(producer.data()),
                             {reinterpret_cast<const gc_record*>(records.data()), arg.ring_entries},
                             arg.length >> GC_PAGE_SHIFT));
    return Session(std::move(control), std::string(arg.node, node_length), std::move(consumer),
                   std::move(producer), std::move(records), ring);
}

Result<std::size_t> Session::read(std::span<Record> into) {
    GC_TRY(const std::size_t count, ring_.read(into));
    if (count != 0 && ring_.kick_wanted()) {
        auto arg = argument<gc_kick>();
        GC_CHECK(command(control_.get(), GC_IOC_KICK, arg, "GC_IOC_KICK"));
    }
    return count;
}

Result<Stats> Session::stats() {
    auto arg = argument<gc_stats>();
    GC_CHECK(command(control_.get(), GC_IOC_STATS, arg, "GC_IOC_STATS"));
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
                 .copied = arg.copied};
}

Result<void> Session::rearm(std::uint64_t first, std::uint64_t count) {
    auto arg = argument<gc_rearm>();
    arg.first = first;
    arg.count = count;
    return command(control_.get(), GC_IOC_REARM, arg, "GC_IOC_REARM");
}

}  // namespace gc::capture
