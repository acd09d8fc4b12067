// SPDX-License-Identifier: GPL-2.0-or-later
#include "qmp/error_output.h"

#include "qmp/qemu_process.h"
#include "util/text.h"
#include "util/whole_file.h"

#include <algorithm>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

namespace gc::qmp {
namespace {

constexpr std::size_t max_text = 1000;

/// Whether the process itself can write there. A QEMU that was broken into may have put another
/// file in the place of its standard error, with O_PATH, for which it needs no right.
bool is_written_by(pid_t pid) {
    const auto info = read_whole_file(fmt::format("/proc/{}/fdinfo/2", pid));
    if (!info)
        return false;
    constexpr std::string_view key = "flags:";
    const auto at = info->find(key);
    if (at == std::string::npos)
        return false;
    const auto flags = std::strtoull(info->c_str() + at + key.size(), nullptr, 8);
    return (flags & O_PATH) == 0 && (flags & O_ACCMODE) != O_RDONLY;
}

}  // namespace

ErrorOutput ErrorOutput::of(const Client& qmp) {
    const auto pid = qmp.peer_pid();
    return pid && is_qemu(*pid) ? of(*pid) : ErrorOutput();
}

ErrorOutput ErrorOutput::of(pid_t pid) {
    ErrorOutput output;
    const auto link = fmt::format("/proc/{}/fd/2", pid);
    std::error_code error;
    output.place_ = printable(std::filesystem::read_symlink(link, error).string());
    struct stat status {};
    if (::stat(link.c_str(), &status) != 0 || !S_ISREG(status.st_mode) || !is_written_by(pid))
        return output;
    output.file_ = UniqueFd(::open(link.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat opened {};
    if (!output.file_ || ::fstat(output.file_.get(), &opened) != 0 ||
        opened.st_ino != status.st_ino || opened.st_dev != status.st_dev)
        output.file_.reset();
    else
        output.begin_ = opened.st_size;
    return output;
}

std::string ErrorOutput::text() const {
    struct stat status {};
    if (!file_ || ::fstat(file_.get(), &status) != 0 || status.st_size <= begin_)
        return {};
    const auto size =
        std::min<std::size_t>(max_text, static_cast<std::size_t>(status.st_size - begin_));
    std::string bytes(size, '\0');
    const ssize_t got =
        ::pread(file_.get(), bytes.data(), size, status.st_size - static_cast<off_t>(size));
    bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    std::string text;
    for (const std::string& line : lines_of(bytes))
        if (!line.empty())
            text += (text.empty() ? "" : "; ") + printable(line, max_text);
    return text;
}

std::string ErrorOutput::hint() const {
    if (const std::string said = text(); !said.empty())
        return fmt::format("it wrote to its standard error: {}", said);
    if (file_)
        return "it wrote nothing to its standard error";
    return place_.empty() ? "see its own output"
                          : fmt::format("see its own output: its standard error is {}", place_);
}

}  // namespace gc::qmp
