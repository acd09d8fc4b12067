// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/process_memory.h"

#include "util/process_maps.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

namespace gc {
namespace {

constexpr std::uint64_t page_size = 4096;

// An entry of /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst).
constexpr std::uint64_t entry_swapped = std::uint64_t{1} << 62;
constexpr std::uint64_t entry_present = std::uint64_t{1} << 63;

}  // namespace

Result<std::uint64_t> resident_private(pid_t pid) {
    constexpr std::string_view key = "RssAnon:";
    const std::string path = fmt::format("/proc/{}/status", pid);
    GC_TRY(const std::string text, read_file(path));
    const std::size_t at = text.find(key);
    if (at == std::string::npos)
        return fail(ErrorKind::protocol, "{}: no line '{}'", path, key);
    return std::strtoull(text.c_str() + at + key.size(), nullptr, 10) * 1024;
}

Result<ProcessMemory> ProcessMemory::open(pid_t pid, std::uint64_t address, std::uint64_t length,
                                          bool untouched_is_zero) {
    ProcessMemory memory;
    memory.pid_ = pid;
    memory.address_ = address;
    memory.length_ = length;
    memory.process_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!memory.process_)
        return fail_errno(errno, fmt::format("pidfd_open of process {}", pid));
    if (untouched_is_zero) {
        const std::string path = fmt::format("/proc/{}/pagemap", pid);
        memory.pagemap_ = UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        if (!memory.pagemap_ && (errno == EACCES || errno == EPERM))
            return fail(ErrorKind::unsupported,
                        "{}: not permitted; run gcctl as root, or as the user of process {} with "
                        "CAP_SYS_PTRACE",
                        path, pid);
        if (!memory.pagemap_)
            return fail_errno(errno, "open " + path);
    }
    // Whether it may be read, before anything depends on it.
    std::array<std::byte, 1> probe{};
    GC_TRY(const std::uint64_t touched, memory.next_touched(0));
    if (touched < length / page_size)
        GC_CHECK(memory.read(touched * page_size, probe));
    return memory;
}

Result<void> ProcessMemory::check_alive() const {
    if (::syscall(SYS_pidfd_send_signal, process_.get(), 0, nullptr, 0) != 0 && errno != EPERM)
        return fail(ErrorKind::io, "process {} has ended", pid_);
    return {};
}

Result<void> ProcessMemory::read(std::uint64_t offset, std::span<std::byte> into) const {
    const std::uint64_t at = address_ + offset;
    for (std::size_t done = 0; done < into.size();) {
        iovec local{into.data() + done, into.size() - done};
        iovec remote{reinterpret_cast<void*>(at + done), into.size() - done};
        const ssize_t got = ::process_vm_readv(pid_, &local, 1, &remote, 1, 0);
        if (got <= 0) {
            const int saved = errno;
            GC_CHECK(check_alive());
            return fail_errno(saved, fmt::format("read 0x{:x} bytes at 0x{:x} of process {}",
                                                 into.size(), at, pid_));
        }
        done += static_cast<std::size_t>(got);
    }
    // A number can be another process's only after ours has ended.
    return check_alive();
}

Result<std::uint64_t> ProcessMemory::next_touched(std::uint64_t page) const {
    const std::uint64_t end = length_ / page_size;
    if (!pagemap_)
        return std::min(page, end);
    std::array<std::uint64_t, 512> entries;
    std::size_t wanted = 1;  // most often the first is
    while (page < end) {
        const std::size_t count = std::min<std::uint64_t>(wanted, end - page);
        const ssize_t got = ::pread(pagemap_.get(), entries.data(), count * sizeof(entries[0]),
                                    static_cast<off_t>((address_ / page_size + page) *
                                                       sizeof(entries[0])));
        if (got != static_cast<ssize_t>(count * sizeof(entries[0])))
            return fail_errno(got < 0 ? errno : ESRCH,
                              fmt::format("read the page map of process {}", pid_));
        const auto* found = std::find_if(
            entries.begin(), entries.begin() + count,
            [](std::uint64_t entry) { return (entry & (entry_present | entry_swapped)) != 0; });
        page += static_cast<std::uint64_t>(found - entries.begin());
        if (found != entries.begin() + count)
            break;
        wanted = entries.size();
    }
    return page;
}

}  // namespace gc
