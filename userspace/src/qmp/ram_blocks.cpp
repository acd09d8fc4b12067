// SPDX-License-Identifier: GPL-2.0-or-later
#include "qmp/ram_blocks.h"

#include "qmp/monitor_text.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <linux/magic.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <sys/vfs.h>

namespace gc::qmp {

using nlohmann::json;

namespace {

Result<std::string> ram_block_text(Client& client) {
    GC_TRY(const json reply, client.execute("x-query-ramblock"));
    if (!reply.is_object() || !reply.contains("human-readable-text") ||
        !reply["human-readable-text"].is_string())
        return fail(ErrorKind::protocol, "{}: expected text from x-query-ramblock", client.name());
    return reply["human-readable-text"].get<std::string>();
}

Result<std::vector<std::string>> backend_ids(Client& client) {
    GC_TRY(const json reply, client.execute("query-memdev"));
    std::vector<std::string> ids;
    for (const json& backend : reply)
        if (backend.is_object() && backend.contains("id") && backend["id"].is_string())
            ids.push_back(backend["id"].get<std::string>());
    return ids;
}

/// A block is named after its backend's id or, on machine types up to 3.1, after its path
/// (x-use-canonical-path-for-ramblock-id, QEMU's hw/core/machine.c).
std::string backend_of(std::string_view block, std::span<const std::string> ids) {
    constexpr std::string_view objects = "/objects/";
    if (block.starts_with(objects))
        block.remove_prefix(objects.size());
    const auto found = std::find(ids.begin(), ids.end(), block);
    return found != ids.end() ? *found : std::string();
}

/// Asks for the address of one byte of the block. The firmware may remap low memory between the two
/// queries, so the region named in the reply decides, and the largest range is queried first.
Result<std::uint64_t> find_hva(Client& client, const std::string& block,
                               std::vector<FlatRange> ranges) {
    std::sort(ranges.begin(), ranges.end(),
              [](const FlatRange& a, const FlatRange& b) { return a.length > b.length; });
    for (const FlatRange& range : ranges) {
        if (range.region != block)
            continue;
        GC_TRY(const std::string text, client.hmp(fmt::format("gpa2hva {:#x}", range.gpa)));
        const auto address = parse_gpa2hva(text);
        if (address && address->region == block)
            return address->hva - range.offset;
    }
    return 0;
}

bool same_file(const struct stat& status, const MapsLine& line) {
    return status.st_dev == line.device && status.st_ino == line.inode;
}

/// Opens the file behind a mapping. map_files has the exact mapping, even if no descriptor is left,
/// but its links need CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE. QEMU's own descriptors need ptrace
/// permission only.
Result<UniqueFd> open_backing(pid_t pid, const MapsLine& line) {
    const auto map_file = fmt::format("/proc/{}/map_files/{:x}-{:x}", pid, line.start, line.end);
    UniqueFd fd(::open(map_file.c_str(), O_RDONLY | O_CLOEXEC));
    if (fd)
        return fd;
    const int saved_errno = errno;
    GC_TRY(const auto numbers, process_fds(pid));
    for (const int number : numbers) {
        const auto path = fmt::format("/proc/{}/fd/{}", pid, number);
        struct stat status {};
        if (::stat(path.c_str(), &status) < 0 || !S_ISREG(status.st_mode) ||
            !same_file(status, line))
            continue;
        if (UniqueFd own(::open(path.c_str(), O_RDONLY | O_CLOEXEC)); own)
            return own;
    }
    return fail_errno(saved_errno, fmt::format("open the file behind guest memory ({}) of process "
                                               "{} (run as root, or with CAP_SYS_ADMIN)",
                                               line.path, pid));
}

Result<Backing> classify_file(const UniqueFd& fd, const MapsLine& line) {
    struct stat status {};
    struct statfs file_system {};
    if (::fstat(fd.get(), &status) < 0 || ::fstatfs(fd.get(), &file_system) < 0)
        return fail_errno(errno, fmt::format("stat {}", line.path));
    if (status.st_ino != line.inode)
        return fail(ErrorKind::io, "{}: QEMU's mapping changed during inspection", line.path);
    if (file_system.f_type == TMPFS_MAGIC)
        return Backing::shmem;
    return file_system.f_type == HUGETLBFS_MAGIC ? Backing::hugetlbfs : Backing::file;
}

Result<void> find_backing(RamBlock& block, pid_t pid, std::span<const MapsLine> maps) {
    GC_TRY(const Span where, locate(maps, block.hva, block.length));
    block.backing = where.backing;
    if (!where.one_file)
        return {};
    auto opened = open_backing(pid, *where.first);
    // Video memory and ROMs are read from the stream. Private memory can do without its file.
    if (!opened && (!block.is_guest_ram() || where.backing == Backing::private_file))
        return {};
    if (!opened)
        return Unexpected(opened.error());
    block.file = std::move(*opened);
    block.file_offset = where.file_offset;
    GC_TRY(const Backing kind, classify_file(block.file, *where.first));
    if (where.backing == Backing::file)
        block.backing = kind;
    return {};
}

}  // namespace

Result<std::vector<RamBlockLine>> ram_block_lines(Client& client) {
    GC_TRY(const std::string text, ram_block_text(client));
    return parse_ram_blocks(text);
}

Result<std::vector<std::string>> virtio_mem_devices(Client& client) {
    GC_TRY(const json reply, client.execute("query-memory-devices"));
    std::vector<std::string> backends;
    for (const json& device : reply)
        if (device.is_object() && device.value("type", "") == "virtio-mem")
            backends.push_back(device.value("data", json::object()).value("memdev", "unknown"));
    return backends;
}

std::string_view to_string(Backing backing) {
    switch (backing) {
    case Backing::shmem:
        return "shared memory file";
    case Backing::hugetlbfs:
        return "hugetlbfs file";
    case Backing::file:
        return "shared file";
    case Backing::anonymous:
        return "anonymous memory";
    case Backing::private_file:
        return "private mapping of a file";
    case Backing::unknown:
        break;
    }
    return "unknown";
}

Result<Span> locate(std::span<const MapsLine> maps, std::uint64_t hva, std::uint64_t length) {
    auto line = std::find_if(maps.begin(), maps.end(), [&](const MapsLine& candidate) {
        return candidate.start <= hva && hva < candidate.end;
    });
    if (line == maps.end())
        return fail(ErrorKind::protocol, "QEMU has no mapping at {:#x}", hva);
    Span span;
    span.first = &*line;
    span.file_offset = line->offset + (hva - line->start);
    // madvise() and mbind() split a mapping. All parts must map the same file contiguously.
    bool shared = true;
    bool has_file = false;
    span.one_file = true;
    std::uint64_t covered = hva;
    for (; covered < hva + length; covered = (line++)->end) {
        if (line == maps.end() || line->start > covered)
            return fail(ErrorKind::protocol,
                        "expected {:#x} bytes of guest memory at {:#x}, found a gap at {:#x}",
                        length, hva, covered);
        has_file = has_file || line->inode != 0;
        shared = shared && line->shared;
        span.one_file =
            span.one_file && line->inode != 0 && line->inode == span.first->inode &&
            line->device == span.first->device &&
            line->offset + (covered - line->start) == span.file_offset + (covered - hva);
    }
    // The kind of file is known only once it is open.
    span.backing = shared && span.one_file ? Backing::file
                   : has_file              ? Backing::private_file
                                           : Backing::anonymous;
    return span;
}

Result<std::vector<RamBlock>> ram_blocks(Client& client, pid_t pid) {
    GC_TRY(auto lines, ram_block_lines(client));
    GC_TRY(const auto ids, backend_ids(client));
    GC_TRY(const std::string tree, client.hmp("info mtree -f"));
    GC_TRY(const auto ranges, parse_flat_view(tree));
    std::vector<RamBlock> blocks;
    for (RamBlockLine& line : lines) {
        RamBlock block;
        block.backend = backend_of(line.name, ids);
        block.name = std::move(line.name);
        block.length = line.used_length;
        block.page_size = line.page_size;
        if (line.hva) {
            block.hva = *line.hva;
        } else if (block.is_guest_ram()) {
            GC_TRY(block.hva, find_hva(client, block.name, ranges));
        }
        blocks.push_back(std::move(block));
    }
    // Read the maps after the addresses are known, so that they include them.
    GC_TRY(const auto maps, read_process_maps(pid));
    for (RamBlock& block : blocks)
        if (block.hva != 0)
            if (auto found = find_backing(block, pid, maps); !found)
                return wrap(std::move(found).error(), "RAM block " + block.name);
    return blocks;
}

Result<std::vector<RamBlock>> ram_blocks(Client& client) {
    GC_TRY(const pid_t pid, client.peer_pid());
    return ram_blocks(client, pid);
}

std::optional<RamBlock::Obstacle> RamBlock::obstacle() const {
    // A page is sent whole, and the VM waits meanwhile.
    constexpr std::uint64_t max_page_size = std::uint64_t{2} << 20;
    if (backing == Backing::unknown)
        return Obstacle{fmt::format("QEMU reports no address for RAM block {}; expected memory "
                                    "that is plugged in and mapped",
                                    name),
                        "unplug it, or wait until the guest has set it up"};
    if (page_size > max_page_size)
        return Obstacle{fmt::format("RAM block {} has pages of {} MiB; expected at most 2 MiB, "
                                    "because each page is sent whole",
                                    name, page_size >> 20),
                        "start QEMU with huge pages of 2 MiB (hugetlbsize=2M, or a mem-path on a "
                        "hugetlbfs mounted with pagesize=2M)"};
    return std::nullopt;
}

}  // namespace gc::qmp
