// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/file_locks.h"

#include "util/process_maps.h"
#include "util/text.h"
#include "util/whole_file.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <sstream>
#include <string>
#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace gc {
inline namespace util {
namespace {

constexpr std::array<std::uint64_t, 2> write_bytes{101, 201};

/// The words of "7: OFDLCK ADVISORY  READ  -1 08:01:1234 100 101" (lock_get_status() in
/// fs/locks.c), after "lock:" in fdinfo.
bool is_write_lock(const std::string& line, const std::string& file) {
    const std::size_t begin = line.starts_with("lock:") ? 5 : 0;
    std::istringstream words(line.substr(begin));
    std::string number, kind, how, access, pid, where, first, last;
    // A waiter has "->" in the place of the kind.
    if (!(words >> number >> kind >> how >> access >> pid >> where >> first >> last) ||
        where != file || (kind != "OFDLCK" && kind != "POSIX"))
        return false;
    const std::uint64_t from = std::strtoull(first.c_str(), nullptr, 10);
    const std::uint64_t to = last == "EOF" ? UINT64_MAX : std::strtoull(last.c_str(), nullptr, 10);
    return std::ranges::any_of(write_bytes,
                               [&](std::uint64_t byte) { return from <= byte && byte <= to; });
}

}  // namespace

std::uint64_t count_write_locks(std::string_view text, dev_t device, ino_t inode) {
    const std::string file = fmt::format("{:02x}:{:02x}:{}", major(device), minor(device), inode);
    const auto lines = lines_of(text);
    return static_cast<std::uint64_t>(std::ranges::count_if(
        lines, [&](const std::string& line) { return is_write_lock(line, file); }));
}

Result<std::uint64_t> write_locks_on(dev_t device, ino_t inode) {
    GC_TRY(const std::string text, read_whole_file("/proc/locks"));
    return count_write_locks(text, device, inode);
}

Result<std::uint64_t> write_locks_of(pid_t pid, dev_t device, ino_t inode) {
    GC_TRY(const auto numbers, process_fds(pid));
    std::uint64_t count = 0;
    for (const int number : numbers) {
        struct stat status {};
        if (::stat(fmt::format("/proc/{}/fd/{}", pid, number).c_str(), &status) != 0 ||
            status.st_dev != device || status.st_ino != inode)
            continue;
        GC_TRY(const std::string text,
               read_whole_file(fmt::format("/proc/{}/fdinfo/{}", pid, number)));
        count += count_write_locks(text, device, inode);
    }
    return count;
}

}  // namespace util
}  // namespace gc
