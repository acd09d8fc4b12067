// SPDX-License-Identifier: GPL-2.0-or-later
#include "capture/track.h"

#include "util/pidfd.h"
#include "util/process_maps.h"

#include <array>
#include <bit>
#include <cstring>
#include <unistd.h>

namespace gc::capture {
namespace {

/// The target of a link below /proc/PID. If it is empty, errno has the reason.
std::string link_of(pid_t pid, const std::string& name) {
    std::array<char, 64> text{};
    const auto length =
        ::readlink(fmt::format("/proc/{}/{}", pid, name).c_str(), text.data(), text.size());
    return length < 0 ? std::string() : std::string(text.data(), static_cast<std::size_t>(length));
}

Unexpected not_taken(pid_t pid, int saved) {
    if (saved == EPERM || saved == EACCES)
        return fail(
            ErrorKind::unsupported,
            "take the KVM descriptor of process {}: {}; run gcctl as root, or with CAP_SYS_PTRACE",
            pid, std::strerror(saved));
    if (saved == ESRCH)
        return fail(ErrorKind::io, "process {}, which ran the VM, has ended", pid);
    return fail_errno(saved, fmt::format("take the KVM descriptor of process {}", pid));
}

/// Explains an error of GC_IOC_TRACK_CREATE. The cases are those of guidecopy.h.
Unexpected refused(int saved, std::uint64_t pages) {
    const auto because = [&](ErrorKind kind, std::string_view reason) {
        return fail(kind, "{}: cannot track the VM: {} ({})", GC_DEVICE_PATH, reason,
                    std::strerror(saved));
    };
    switch (saved) {
    case EOPNOTSUPP:
        return because(
            ErrorKind::unsupported,
            "expected a VM with nested paging (NPT or EPT), found shadow paging; load kvm_amd with "
            "npt=1 or kvm_intel with ept=1. Or this kernel has no KVM or is PREEMPT_RT");
    case ENODEV:
        return because(ErrorKind::unsupported, "expected the descriptor of a KVM VM");
    case ESRCH:
        return because(ErrorKind::io, "the process that ran it has ended");
    case EFBIG:
        return because(ErrorKind::unsupported, "expected less than 16 TiB of memory");
    case ENOMEM:
        return because(ErrorKind::io, no_memory(std::bit_ceil(pages), pages));
    case ENOSPC:
        return because(ErrorKind::unsupported, too_many());
    case ENOTTY:
    case EINVAL:
    case E2BIG:
        return because(
            ErrorKind::unsupported,
            fmt::format(
                "expected the module of the same version as this gcctl, and at most {} RAM blocks",
                GC_TRACK_MAX_RANGES));
    default:
        return because(ErrorKind::io, "GC_IOC_TRACK_CREATE failed");
    }
}

}  // namespace

Result<UniqueFd> vm_of_process(pid_t pid) {
    // Open the pidfd first: the PID may be reused later, but the pidfd stays valid.
    const UniqueFd process(::pidfd_open(pid, 0));
    if (!process)
        return not_taken(pid, errno);
    // Only processes that may trace a process can read its links. A zombie has none.
    if (link_of(pid, "exe").empty())
        return not_taken(pid, errno == ENOENT ? ESRCH : errno);
    GC_TRY(const auto numbers, process_fds(pid, "anon_inode:kvm-vm"));
    if (numbers.empty())
        return fail(ErrorKind::unsupported,
                    "process {} runs no KVM VM, and only KVM VMs can be tracked; start QEMU with "
                    "-accel kvm",
                    pid);
    UniqueFd vm(::pidfd_getfd(process.get(), numbers.front(), 0));
    if (!vm)
        return not_taken(pid, errno);
    return vm;
}

Result<Track> Track::create(int vm, TrackMode mode, std::span<const AddressRange> ranges) {
    GC_TRY(UniqueFd control, open_control());
    std::vector<gc_range> wanted;
    std::uint64_t pages = 0;
    for (const AddressRange& range : ranges) {
        wanted.push_back({range.address, range.length});
        pages += range.length >> GC_PAGE_SHIFT;
    }
    auto arg = argument<gc_track_create>();
    arg.kvm_fd = vm;
    arg.mode = static_cast<std::uint32_t>(mode);
    arg.range_count = static_cast<std::uint32_t>(wanted.size());
    arg.ranges = reinterpret_cast<std::uintptr_t>(wanted.data());
    if (::ioctl(control.get(), GC_IOC_TRACK_CREATE, &arg) != 0)
        return refused(errno, pages);
    GC_TRY(Ring ring, Ring::map(control.get(), pages));
    return Track(std::move(control), std::move(ring), pages);
}

Result<std::uint64_t> Track::scan(std::uint64_t from) {
    auto arg = argument<gc_scan>();
    arg.first = from;
    arg.count = pages_ - from;
    if (::ioctl(control_.get(), GC_IOC_SCAN, &arg) != 0) {
        if (errno == ESRCH)
            return fail(ErrorKind::io, "the process that ran the VM has ended");
        return fail_errno(errno, fmt::format("{}: GC_IOC_SCAN", GC_DEVICE_PATH));
    }
    const std::uint64_t next = from + arg.scanned;
    return next < pages_ ? next : 0;
}

}  // namespace gc::capture
