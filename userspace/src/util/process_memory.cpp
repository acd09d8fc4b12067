// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/process_memory.h"

#include "util/file_extents.h"
#include "util/page.h"
#include "util/pidfd.h"
#include "util/whole_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

namespace gc {
inline namespace util {
namespace {

constexpr std::uint64_t entry_size = sizeof(std::uint64_t);

/// Entries of /proc/PID/pagemap read at a time: 2 MiB of memory.
constexpr std::size_t batch = 512;

/// Documentation/admin-guide/mm/pagemap.rst: bit 63 is "present", bit 62 is "swapped", which
/// includes pages under migration.
bool is_present(std::uint64_t entry) {
    return (entry >> 62) != 0;
}

}  // namespace

Result<std::uint64_t> proc_bytes(const std::string& path, std::string_view key) {
    GC_TRY(const std::string text, read_whole_file(path));
    const std::size_t at = text.find(key);
    if (at == std::string::npos)
        return fail(ErrorKind::protocol, "{}: expected a line '{}', found none", path, key);
    return std::strtoull(text.c_str() + at + key.size(), nullptr, 10) * 1024;
}

Result<std::uint64_t> resident_private(pid_t pid) {
    return proc_bytes(fmt::format("/proc/{}/status", pid), "RssAnon:");
}

Result<ProcessMemory> ProcessMemory::open(pid_t pid, std::uint64_t address, std::uint64_t length,
                                          std::optional<Underlay> underlay) {
    ProcessMemory memory;
    memory.pid_ = pid;
    memory.address_ = address;
    memory.length_ = length;
    memory.underlay_ = std::move(underlay);
    memory.process_ = UniqueFd(::pidfd_open(pid, 0));
    if (!memory.process_)
        return fail_errno(errno, fmt::format("pidfd_open of process {}", pid));
    const std::string path = fmt::format("/proc/{}/pagemap", pid);
    memory.pagemap_ = UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!memory.pagemap_ && (errno == EACCES || errno == EPERM))
        return fail(ErrorKind::unsupported,
                    "{}: permission denied; run gcctl as root, or as the user of process {} with "
                    "CAP_SYS_PTRACE",
                    path, pid);
    if (!memory.pagemap_)
        return fail_errno(errno, "open " + path);
    GC_CHECK(memory.probe());
    return memory;
}

Result<void> ProcessMemory::probe() const {
    // Find out early whether reading is permitted. Read a page that is present, so as not to
    // populate one.
    std::array<std::uint64_t, batch> entries;
    const auto some = std::span(entries).first(std::min<std::uint64_t>(batch, length_ / page_size));
    GC_CHECK(read_entries(0, some));
    const auto found = std::ranges::find_if(some, is_present);
    if (found == some.end() && underlay_)
        return {};
    const auto page = found == some.end() ? 0 : static_cast<std::uint64_t>(found - some.begin());
    std::array<std::byte, 1> byte;
    return read_process(page * page_size, byte);
}

Result<void> ProcessMemory::check_alive() const {
    if (::pidfd_send_signal(process_.get(), 0, nullptr, 0) != 0 && errno != EPERM)
        return fail(ErrorKind::io, "process {} has ended", pid_);
    return {};
}

Result<void> ProcessMemory::read_entries(std::uint64_t page,
                                         std::span<std::uint64_t> entries) const {
    const ssize_t got = ::pread(pagemap_.get(), entries.data(), entries.size_bytes(),
                                static_cast<off_t>((address_ / page_size + page) * entry_size));
    // The page map reads as empty once the memory is gone.
    if (got != static_cast<ssize_t>(entries.size_bytes()))
        return fail_errno(got < 0 ? errno : ESRCH,
                          fmt::format("read the page map of process {}", pid_));
    return {};
}

Result<void> ProcessMemory::read(std::uint64_t offset, std::span<std::byte> into) const {
    if (!underlay_)
        return read_process(offset, into);
    std::array<std::uint64_t, batch> entries;
    while (!into.empty()) {
        const auto some =
            std::span(entries).first(std::min<std::uint64_t>(batch, into.size() / page_size));
        GC_CHECK(read_entries(offset / page_size, some));
        for (auto from = some.begin(); from != some.end();) {
            const bool there = is_present(*from);
            const auto to = std::find_if(from, some.end(), [there](std::uint64_t entry) {
                return is_present(entry) != there;
            });
            const auto run = into.first(static_cast<std::size_t>(to - from) * page_size);
            GC_CHECK(there ? read_process(offset, run) : read_underlay(offset, run));
            offset += run.size();
            into = into.subspan(run.size());
            from = to;
        }
    }
    return {};
}

Result<void> ProcessMemory::read_process(std::uint64_t offset, std::span<std::byte> into) const {
    const std::uint64_t at = address_ + offset;
    for (std::size_t done = 0; done < into.size();) {
        iovec local{into.data() + done, into.size() - done};
        // NOLINTNEXTLINE(performance-no-int-to-ptr): an address in the other process
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
    // A PID can be reused only after our process has ended.
    return check_alive();
}

Result<void> ProcessMemory::read_underlay(std::uint64_t offset, std::span<std::byte> into) const {
    // Unlike access through a mapping, pread does not allocate holes of shmem and hugetlbfs files.
    while (underlay_->file && !into.empty()) {
        const ssize_t got = ::pread(underlay_->file.get(), into.data(), into.size(),
                                    static_cast<off_t>(underlay_->offset + offset));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_errno(
                errno, fmt::format("read the file that backs the memory of process {}", pid_));
        if (got == 0)
            break;
        offset += static_cast<std::uint64_t>(got);
        into = into.subspan(static_cast<std::size_t>(got));
    }
    std::ranges::fill(into, std::byte{0});
    return {};
}

std::uint64_t ProcessMemory::next_in_file(std::uint64_t page) const {
    const std::uint64_t end = length_ / page_size;
    return underlay_->file ? next_data_page({underlay_->file.get(), underlay_->offset, end}, page)
                           : end;
}

std::uint64_t ProcessMemory::next_hole_in_file(std::uint64_t page) const {
    const std::uint64_t end = length_ / page_size;
    return underlay_->file ? next_hole_page({underlay_->file.get(), underlay_->offset, end}, page)
                           : std::min(page, end);
}

Result<std::uint64_t> ProcessMemory::next_data(std::uint64_t page) const {
    if (!underlay_)
        return std::min(page, length_ / page_size);
    const std::uint64_t end = next_in_file(page);
    std::array<std::uint64_t, batch> entries;
    std::size_t wanted = 1;  // usually the first page is present
    while (page < end) {
        const auto some = std::span(entries).first(std::min<std::uint64_t>(wanted, end - page));
        GC_CHECK(read_entries(page, some));
        const auto found = std::ranges::find_if(some, is_present);
        page += static_cast<std::uint64_t>(found - some.begin());
        if (found != some.end())
            break;
        wanted = batch;
    }
    return page;
}

Result<std::uint64_t> ProcessMemory::next_hole(std::uint64_t page) const {
    const std::uint64_t end = length_ / page_size;
    if (!underlay_)
        return end;
    std::array<std::uint64_t, batch> entries;
    for (page = next_hole_in_file(page); page < end; page = next_hole_in_file(page)) {
        for (const std::uint64_t data = next_in_file(page); page < data;) {
            const auto some = std::span(entries).first(std::min<std::uint64_t>(batch, data - page));
            GC_CHECK(read_entries(page, some));
            const auto found = std::ranges::find_if_not(some, is_present);
            page += static_cast<std::uint64_t>(found - some.begin());
            if (found != some.end())
                return page;
        }
    }
    return end;
}

}  // namespace util
}  // namespace gc
