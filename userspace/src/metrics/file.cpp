// SPDX-License-Identifier: GPL-2.0-or-later
#include "metrics/file.h"

#include "util/fd.h"
#include "util/whole_file.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gc::metrics {
namespace {

constexpr mode_t public_mode = 0644;
constexpr std::size_t max_file = std::size_t{4} << 20;

/// Of the directory, as the file itself is replaced.
Result<UniqueFd> lock(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    const std::string directory = slash == std::string::npos ? "."
                                  : slash == 0               ? "/"
                                                             : path.substr(0, slash);
    UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd)
        return fail_errno(errno, "open " + directory);
    while (::flock(fd.get(), LOCK_EX) != 0)
        if (errno != EINTR)
            return fail_errno(errno, "lock " + directory);
    return fd;
}

Result<Exposition> read(const std::string& path) {
    if (::access(path.c_str(), F_OK) != 0 && errno == ENOENT)
        return Exposition();
    GC_TRY(const std::string text, read_whole_file(path, max_file));
    auto exposition = Exposition::parse(text);
    return exposition ? exposition : wrap(exposition.error(), path);
}

}  // namespace

Result<void> update(const std::string& path, const std::function<void(Exposition&)>& change) {
    GC_TRY(const UniqueFd locked, lock(path));
    GC_TRY(Exposition exposition, read(path));
    change(exposition);
    return write_whole_file(path, exposition.text(), public_mode);
}

Result<void> check(const std::string& path) {
    // Written as it is: only that shows that the file and its directory can be.
    const auto done = update(path, [](Exposition&) {});
    return done ? done
                : fail(ErrorKind::unsupported, "cannot write metrics: {}", done.error().message);
}

}  // namespace gc::metrics
