// SPDX-License-Identifier: GPL-2.0-or-later
#include "state/store.h"

#include "util/fd.h"
#include "util/whole_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <dirent.h>
#include <fcntl.h>
#include <filesystem>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>

namespace gc::state {
namespace {

constexpr std::size_t block = 4096;
/// A later phase has a longer name.
constexpr std::size_t slack = 64;
constexpr std::int64_t verdict_lifetime_s = std::int64_t{7} * 24 * 3600;
constexpr std::string_view suffix = ".json";
constexpr std::size_t max_record = std::size_t{1} << 20;

std::string path_of(const std::string& in, const Record& record) {
    return fmt::format("{}/{}{}", in, full_name(record), suffix);
}

std::string spare_of(const std::string& in, const Record& record) {
    return fmt::format("{}/.{}.spare", in, full_name(record));
}

/// Writes over a file's bytes, or makes the file.
Result<void> write_padded(const std::string& path, std::string text, std::size_t room, int flags) {
    // The blanks after a JSON text mean nothing.
    text.resize(std::max(room, text.size()), ' ');
    const UniqueFd fd(
        ::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW | flags, private_file_mode));
    if (!fd)
        return fail_errno(errno, "open " + path);
    if (auto written = write_all(fd.get(), std::as_bytes(std::span(text))); !written)
        return wrap(std::move(written).error(), path);
    if ((flags & O_CREAT) != 0 && ::fsync(fd.get()) != 0)
        return fail_errno(errno, "write " + path);
    return {};
}

Result<void> make_directory(const std::string& path) {
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
        return fail_errno(errno, "create directory " + path);
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0)
        return fail_errno(errno, "stat " + path);
    // Whoever else may write there could forge a verdict.
    if (!S_ISDIR(status.st_mode) || status.st_uid != ::geteuid() || (status.st_mode & 022) != 0)
        return fail(ErrorKind::unsupported,
                    "expected {} to be a directory of this user that nobody else may write to",
                    path);
    return {};
}

void remove(const std::string& in, const Record& record) {
    ::unlink(path_of(in, record).c_str());
    ::unlink(spare_of(in, record).c_str());
}

std::string absolute(const std::string& path) {
    std::error_code error;
    const auto absolute = std::filesystem::absolute(path, error);
    return error ? path : absolute.string();
}

bool is_stale(const Record& record, std::int64_t now) {
    return !record.gcctl.alive() && !record.qemu.alive() &&
           now - record.changed > verdict_lifetime_s;
}

Result<Listing> list_in(const std::string& in) {
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(in.c_str()), ::closedir);
    if (!entries)
        return fail_errno(errno, "open " + in);
    Listing found;
    while (const dirent* entry = ::readdir(entries.get())) {
        const std::string_view file(entry->d_name);
        if (file.starts_with('.') || !file.ends_with(suffix))
            continue;
        const std::string path = fmt::format("{}/{}", in, file);
        const auto text = read_whole_file(path, max_record);
        auto record = text ? decode(*text) : Result<Record>(Unexpected(text.error()));
        // A name that the record does not stand for would survive its removal.
        if (record && path != path_of(in, *record))
            record = fail(ErrorKind::protocol, "the record is not of that name");
        if (record)
            found.records.push_back(std::move(*record));
        else
            found.problems.push_back(fmt::format("{}: {}", path, record.error().message));
    }
    std::ranges::sort(found.records, {}, &Record::begun);
    return found;
}

}  // namespace

Result<std::string> directory() {
    if (const char* given = std::getenv("GUIDECOPY_STATE_DIR"); given != nullptr && *given != 0)
        return given;
    if (::geteuid() == 0)
        return "/run/guidecopy";
    if (const char* runtime = std::getenv("XDG_RUNTIME_DIR"); runtime != nullptr && *runtime == '/')
        return fmt::format("{}/guidecopy", runtime);
    return fail(ErrorKind::unsupported, "XDG_RUNTIME_DIR is not set");
}

Listing list() {
    const auto in = directory();
    if (!in)
        return {{}, {in.error().message}};
    auto found = list_in(*in);
    if (found)
        return std::move(*found);
    // No migration has been here.
    if (found.error().error_number == ENOENT)
        return {};
    return {{}, {found.error().message}};
}

std::optional<Record> find(Role role, const Process& qemu, const std::string& qmp) {
    std::optional<Record> found;
    for (Record& record : list().records) {
        if (record.role != role || record.qemu != qemu)
            continue;
        // A manager such as libvirt may be behind the sockets of many QEMUs.
        if (!found || record.qmp == absolute(qmp) || found->qmp != absolute(qmp))
            found = std::move(record);
    }
    return found;
}

void forget(const Record& record) {
    if (const auto in = directory())
        remove(*in, record);
}

Result<Journal> Journal::begin(Record record) {
    GC_TRY(const std::string in, directory());
    GC_CHECK(make_directory(in));
    record.gcctl = Process::self();
    record.changed = std::time(nullptr);
    if (record.begun == 0)
        record.begun = record.changed;
    for (const Record& other : list().records)
        if (is_stale(other, record.changed))
            remove(in, other);

    const std::string path = path_of(in, record);
    const std::string spare = spare_of(in, record);
    const std::string text = encode(record);
    const std::size_t room = (text.size() + slack + block - 1) / block * block;
    const std::string made = path + ".new";
    const auto written = [&]() -> Result<void> {
        GC_CHECK(write_padded(made, text, room, O_CREAT | O_TRUNC));
        GC_CHECK(write_padded(spare, text, room, O_CREAT | O_TRUNC));
        if (::rename(made.c_str(), path.c_str()) != 0)
            return fail_errno(errno, fmt::format("rename {} to {}", made, path));
        return {};
    }();
    if (!written) {
        ::unlink(made.c_str());
        ::unlink(spare.c_str());
        return Unexpected(written.error());
    }
    return Journal(std::move(record), path, spare, room);
}

void Journal::set(Phase phase) {
    record_.phase = phase;
    record_.changed = std::time(nullptr);
    // A record in an earlier phase would be a lie, by which a VM could be made to run twice.
    if (!write_padded(spare_, encode(record_), room_, 0) ||
        ::renameat2(AT_FDCWD, spare_.c_str(), AT_FDCWD, path_.c_str(), RENAME_EXCHANGE) != 0)
        finish();
}

void Journal::set(Phase phase, bool runs) {
    record_.runs = runs;
    set(phase);
}

void Journal::finish() {
    ::unlink(path_.c_str());
    ::unlink(spare_.c_str());
}

Result<Journal> keep(Record record, pid_t qemu) {
    GC_TRY(record.qemu, Process::of(qemu));
    if (!record.qmp.empty())
        record.qmp = absolute(record.qmp);
    return Journal::begin(std::move(record));
}

void set(std::optional<Journal>& journal, Phase phase) {
    if (journal)
        journal->set(phase);
}

void set(std::optional<Journal>& journal, Phase phase, bool runs) {
    if (journal)
        journal->set(phase, runs);
}

void finish(std::optional<Journal>& journal) {
    if (journal)
        journal->finish();
    journal.reset();
}

}  // namespace gc::state
