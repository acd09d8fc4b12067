// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/whole_file.h"

#include "util/fd.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <span>
#include <sys/stat.h>
#include <unistd.h>

namespace gc {
inline namespace util {
namespace {

/// More for a longer file, as it is read: a sparse file may claim any size.
constexpr std::size_t max_reserved = std::size_t{1} << 20;

Result<void> write_new(const std::string& path, std::string_view text, mode_t mode) {
    UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    if (!fd || ::fchmod(fd.get(), mode) != 0)
        return fail_errno(errno, "create " + path);
    if (auto written = write_all(fd.get(), std::as_bytes(std::span(text))); !written)
        return wrap(std::move(written).error(), path);
    // A network file system may report a full disk only here.
    if (::close(fd.release()) != 0)
        return fail_errno(errno, "write " + path);
    return {};
}

}  // namespace

Result<std::string> read_whole_file(const std::string& path, std::size_t max_bytes) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd)
        return fail_errno(errno, "open " + path);
    std::string text;
    struct stat status {};
    if (::fstat(fd.get(), &status) == 0 && S_ISREG(status.st_mode))
        text.reserve(std::min({static_cast<std::size_t>(status.st_size), max_bytes, max_reserved}));
    std::array<char, 65536> buffer{};
    for (;;) {
        auto got = read_some(fd.get(), std::as_writable_bytes(std::span(buffer)));
        if (!got)
            return wrap(std::move(got).error(), path);
        if (*got == 0)
            return text;
        if (text.size() + *got > max_bytes)
            return fail(ErrorKind::io, "{}: expected at most {} bytes, the file is longer", path,
                        max_bytes);
        text.append(buffer.data(), *got);
    }
}

Result<void> write_whole_file(const std::string& path, std::string_view text, mode_t mode) {
    // Renaming over a device such as /dev/stdout would replace it for everyone.
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
        return fail(ErrorKind::io, "{}: expected a regular file or a new name", path);
    const std::string temporary = path + ".new";
    // A killed gcctl may have left it, or somebody else made it: with another mode, or a link.
    ::unlink(temporary.c_str());
    if (auto written = write_new(temporary, text, mode); !written) {
        ::unlink(temporary.c_str());
        return written;
    }
    if (std::rename(temporary.c_str(), path.c_str()) != 0) {
        const int saved_errno = errno;
        ::unlink(temporary.c_str());
        return fail_errno(saved_errno, fmt::format("rename {} to {}", temporary, path));
    }
    return {};
}

}  // namespace util
}  // namespace gc
