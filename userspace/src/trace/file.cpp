// SPDX-License-Identifier: GPL-2.0-or-later
#include "trace/file.h"

#include "trace/reader.h"
#include "trace/writer.h"
#include "util/whole_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gc::trace {
namespace {

Result<void> check_file(const std::string& path) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd)
        return fail_errno(errno, "open " + path);
    std::array<std::byte, magic.size()> start{};
    GC_TRY(const std::size_t got, read_some(fd.get(), start));
    // A shorter file is for the parser to refuse.
    if (got == start.size() && !std::ranges::equal(start, std::as_bytes(std::span(magic))))
        return fail(ErrorKind::protocol,
                    "{}: offset 0: expected the magic 'gctrace\\n' of an access trace, found "
                    "something else",
                    path);
    // A hole reads as zeros, and takes memory, but no space on the disk. A trace has none.
    const off_t hole = ::lseek(fd.get(), 0, SEEK_HOLE);
    if (hole >= 0 && hole < ::lseek(fd.get(), 0, SEEK_END))
        return fail(ErrorKind::protocol,
                    "{}: expected an access trace, which has no holes, found "
                    "one at offset {}",
                    path, hole);
    return {};
}

}  // namespace

Result<Trace> read_trace(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
        return fail(ErrorKind::usage, "{}: expected an access trace in a regular file", path);
    GC_CHECK(check_file(path));  // before memory is taken for it
    GC_TRY(const std::string text, read_whole_file(path, SIZE_MAX));
    auto trace = parse(std::as_bytes(std::span(text)));
    if (!trace)
        return wrap(std::move(trace).error(), path);
    return trace;
}

Result<TraceFile> TraceFile::create(const std::string& path, const Header& header) {
    UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, private_file_mode));
    if (!fd)
        return fail_errno(errno, "create " + path);
    TraceFile file(path, std::move(fd));
    Buffer bytes;
    append_header(bytes, header);
    GC_CHECK(file.write(bytes));
    return file;
}

Result<void> TraceFile::append(const Epoch& epoch) {
    Buffer bytes;
    append_epoch(bytes, epoch);
    ++epochs_;
    return write(bytes);
}

Result<void> TraceFile::finish() {
    Buffer bytes;
    append_end(bytes, epochs_);
    GC_CHECK(write(bytes));
    // A network file system may report a full disk only here.
    if (::close(fd_.release()) != 0)
        return fail_errno(errno, "write " + path_);
    return {};
}

Result<void> TraceFile::write(std::span<const std::byte> bytes) {
    if (auto written = write_all(fd_.get(), bytes); !written)
        return wrap(std::move(written).error(), path_);
    bytes_ += bytes.size();
    return {};
}

}  // namespace gc::trace
