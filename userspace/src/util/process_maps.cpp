// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/process_maps.h"

#include "util/whole_file.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <dirent.h>
#include <memory>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace gc {
inline namespace util {

namespace {

/// Parses a number and the delimiter after it from the front of the text.
template <typename T> bool take(std::string_view& text, T& value, int base, char delimiter) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    const auto used = static_cast<std::size_t>(end - text.data());
    if (error != std::errc() || used >= text.size() || *end != delimiter)
        return false;
    text.remove_prefix(used + 1);
    return true;
}

bool parse_line(std::string_view text, MapsLine& line) {
    unsigned major = 0;
    unsigned minor = 0;
    if (!take(text, line.start, 16, '-') || !take(text, line.end, 16, ' '))
        return false;
    if (text.size() < 5 || text[4] != ' ')
        return false;
    line.shared = text[3] == 's';
    text.remove_prefix(5);
    if (!take(text, line.offset, 16, ' ') || !take(text, major, 16, ':') ||
        !take(text, minor, 16, ' '))
        return false;
    line.device = makedev(major, minor);
    const auto inode_end = std::min(text.find(' '), text.size());
    if (std::from_chars(text.data(), text.data() + inode_end, line.inode).ec != std::errc())
        return false;
    text.remove_prefix(inode_end);
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    line.path = text;
    return line.start < line.end;
}

}  // namespace

Result<std::vector<MapsLine>> parse_process_maps(std::string_view text) {
    std::vector<MapsLine> lines;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        MapsLine line;
        if (!parse_line(text.substr(0, end), line))
            return fail(ErrorKind::protocol, "/proc/PID/maps: cannot parse line '{}'",
                        text.substr(0, end));
        lines.push_back(std::move(line));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
}

Result<std::vector<MapsLine>> read_process_maps(pid_t pid) {
    const auto text = read_whole_file(fmt::format("/proc/{}/maps", pid));
    if (!text && (text.error().error_number == EACCES || text.error().error_number == EPERM))
        return fail(ErrorKind::unsupported,
                    "process {} may not be looked into ({}); run gcctl as root, or as that "
                    "process's user with CAP_SYS_PTRACE",
                    pid, text.error().message);
    if (!text)
        return Unexpected(text.error());
    return parse_process_maps(*text);
}

Result<std::vector<int>> process_fds(pid_t pid) {
    const auto path = fmt::format("/proc/{}/fd", pid);
    std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
    if (!directory)
        return fail_errno(errno, "open " + path);
    std::vector<int> numbers;
    while (const dirent* entry = ::readdir(directory.get())) {
        const std::string_view name(entry->d_name);
        int number = 0;
        if (std::from_chars(name.data(), name.data() + name.size(), number).ec == std::errc())
            numbers.push_back(number);
    }
    std::sort(numbers.begin(), numbers.end());
    return numbers;
}

Result<std::vector<int>> process_fds(pid_t pid, std::string_view target) {
    GC_TRY(std::vector<int> numbers, process_fds(pid));
    std::string found(target.size() + 1, '\0');  // a longer one is none
    std::erase_if(numbers, [&](int number) {
        const auto path = fmt::format("/proc/{}/fd/{}", pid, number);
        const ssize_t length = ::readlink(path.c_str(), found.data(), found.size());
        return length < 0 ||
               std::string_view(found.data(), static_cast<std::size_t>(length)) != target;
    });
    return numbers;
}

Result<std::vector<std::string>> process_command_line(pid_t pid) {
    const auto path = fmt::format("/proc/{}/cmdline", pid);
    GC_TRY(const std::string text, read_whole_file(path));
    std::vector<std::string> arguments;
    for (std::size_t start = 0; start < text.size();) {
        const std::size_t end = std::min(text.find('\0', start), text.size());
        arguments.emplace_back(text, start, end - start);
        start = end + 1;
    }
    if (arguments.empty())
        return fail(ErrorKind::io, "{} is empty: the process has ended or is a kernel thread",
                    path);
    return arguments;
}

}  // namespace util
}  // namespace gc
