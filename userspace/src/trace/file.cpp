// SPDX-License-Identifier: GPL-2.0-or-later
#include "trace/file.h"

#include "trace/reader.h"
#include "trace/writer.h"
#include "util/whole_file.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gc::trace {

Result<Trace> read_trace(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
        return fail(ErrorKind::usage, "{}: expected an access trace in a regular file", path);
    GC_TRY(const std::string text, read_whole_file(path, SIZE_MAX));
    auto trace = parse(std::as_bytes(std::span(text)));
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
