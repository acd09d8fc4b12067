// SPDX-License-Identifier: GPL-2.0-or-later
#include "capture/session.h"

#include <cstring>

namespace gc::capture {
namespace {

/// Explains an error of GC_IOC_SESSION_CREATE. The cases are those of guidecopy.h.
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
                       "it is on hugetlbfs; only a session on the process's memory can watch it");
    case ENODEV:
        return because(ErrorKind::unsupported,
                       "it is not a shared memory file; use memory-backend-memfd, or "
                       "memory-backend-file on tmpfs, with share=on");
    case ERANGE:
        return because(ErrorKind::io, process ? "not all of the range is readable memory"
                                              : "the range extends beyond the end of the file");
    case ESRCH:
        return because(ErrorKind::io, "the process has ended");
    case EPERM:
        return because(ErrorKind::unsupported,
                       "no permission to read its memory; run gcctl with CAP_SYS_PTRACE");
    case ENOBUFS:
        return because(
            ErrorKind::unsupported,
            fmt::format(
                "a ring of {} records exceeds the parameter max_ring_entries of guidecopy.ko",
                arg.ring_entries));
    case ENOSPC:
        return because(ErrorKind::unsupported, too_many());
    case ENOMEM:
        return because(ErrorKind::io, no_memory(arg.ring_entries, arg.length >> GC_PAGE_SHIFT));
    case EINVAL:
    case E2BIG:
        return because(ErrorKind::unsupported,
                       "the size is not a multiple of 4 KiB, the ring size is not a power of two, "
                       "or the module is older than this gcctl");
    default:
        return because(ErrorKind::io, "GC_IOC_SESSION_CREATE failed");
    }
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
    UniqueFd node(arg.node_fd);
    GC_TRY(Ring ring, Ring::map(control.get(), arg.length >> GC_PAGE_SHIFT));
    return Session(std::move(control), std::move(node), std::move(ring));
}

}  // namespace gc::capture
