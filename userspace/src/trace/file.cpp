// SPDX-License-Identifier: GPL-2.0-or-later
#include "trace/file.h"

#include "trace/reader.h"
#include "trace/writer.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gc::trace {

Result<Trace> read_trace(const std::string& path) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat status {};
    if (!fd || ::fstat(fd.get(), &status) != 0)
        return fail_errno(errno, "open " + path);
    if (!S_ISREG(status.st_mode))
        return fail(ErrorKind::usage, "{}: expected an access trace in a regular file", path);
    std::vector<std::byte> bytes(static_cast<std::size_t>(status.st_size));
    std::size_t have = 0;
    while (have < bytes.size()) {
        auto got = read_some(fd.get(), std::span(bytes).subspan(have));
        if (!got)
            return wrap(std::move(got).error(), path);
        if (*got == 0)
            break;
        have += *got;
    }
    auto trace = parse(std::span(bytes).first(have));
    if (!trace)
        return wrap(std::move(trace).error(), path);
    return trace;
}

Result<TraceFile> TraceFile::create(const std::string& path, const Header& header) {
    UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
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
