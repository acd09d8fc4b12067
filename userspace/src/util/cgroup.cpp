// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/cgroup.h"

#include "util/text.h"
#include "util/whole_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <limits>
#include <sstream>

namespace gc {
inline namespace util {
namespace {

// The files of the two versions. (mm/memcontrol.c, Linux 6.1: memory_files,
// mem_cgroup_legacy_files)
struct MemoryFiles {
    const char* limit;
    const char* usage;
    std::array<std::string_view, 2> cache;  ///< lines of memory.stat
};
constexpr std::array<MemoryFiles, 2> versions = {{
    {"memory.max", "memory.current", {"active_file", "inactive_file"}},
    {"memory.limit_in_bytes",
     "memory.usage_in_bytes",
     {"total_active_file", "total_inactive_file"}},
}};
// Version 1 writes "no limit" as the greatest multiple of the page size.
constexpr std::uint64_t no_limit = std::uint64_t{1} << 62;

/// @return no value if the file does not exist: the root has no limit, and another version no such
/// file
Result<std::optional<std::uint64_t>> number_in(const std::string& path) {
    const auto text = read_whole_file(path);
    if (!text && text.error().error_number == ENOENT)
        return std::nullopt;
    if (!text)
        return Unexpected(text.error());
    if (text->starts_with("max"))
        return no_limit;
    return std::strtoull(text->c_str(), nullptr, 10);
}

std::uint64_t cached(const std::string& stat, const MemoryFiles& files) {
    std::uint64_t bytes = 0;
    std::istringstream words(stat);
    std::string name;
    for (std::uint64_t value = 0; words >> name >> value;)
        if (std::ranges::find(files.cache, name) != files.cache.end())
            bytes += value;
    return bytes;
}

Result<std::optional<std::uint64_t>> room_in(const std::string& directory) {
    for (const MemoryFiles& files : versions) {
        GC_TRY(const auto limit, number_in(directory + "/" + files.limit));
        GC_TRY(const auto usage, number_in(directory + "/" + files.usage));
        if (!limit || !usage)
            continue;
        if (*limit >= no_limit)
            return std::nullopt;
        GC_TRY(const std::string stat, read_whole_file(directory + "/memory.stat"));
        const std::uint64_t fixed = *usage - std::min(*usage, cached(stat, files));
        return *limit - std::min(*limit, fixed);
    }
    return std::nullopt;
}

}  // namespace

std::vector<CgroupPlace> cgroups_besides(std::string_view own, std::string_view wanted) {
    const std::vector<std::string> own_lines = lines_of(own);
    std::vector<CgroupPlace> places;
    for (const std::string& line : lines_of(wanted)) {
        // "5:cpu,cpuacct:/path", of v2 "0::/path"
        const auto first = line.find(':');
        const auto second = first == std::string::npos ? first : line.find(':', first + 1);
        if (second == std::string::npos ||
            std::find(own_lines.begin(), own_lines.end(), line) != own_lines.end())
            continue;
        places.push_back({line.substr(first + 1, second - first - 1), line.substr(second + 1)});
    }
    return places;
}

Result<std::string> cgroup_directory(std::string_view mountinfo, const CgroupPlace& place) {
    for (const std::string& line : lines_of(mountinfo)) {
        // "ID PARENT MAJOR:MINOR ROOT DIRECTORY OPTIONS [OPTIONAL...] - TYPE SOURCE SUPER_OPTIONS"
        std::istringstream words(line);
        std::string skipped, root, directory, type, options;
        words >> skipped >> skipped >> skipped >> root >> directory;
        while (words >> skipped && skipped != "-") {
        }
        words >> type >> skipped >> options;
        const bool fits =
            place.controllers.empty()
                ? type == "cgroup2"
                : type == "cgroup" && ("," + options + ",").find("," + place.controllers + ",") !=
                                          std::string::npos;
        if (!fits)
            continue;
        // A mount may show only a part of the hierarchy, as in a container.
        const std::string base = root == "/" ? "" : root;
        if ((place.path + "/").starts_with(base + "/") &&
            (place.path + "/").find("/../") == std::string::npos)
            return directory + place.path.substr(base.size());
    }
    return fail(ErrorKind::unsupported, "gcctl sees no cgroup {} '{}'", place.path,
                place.controllers.empty() ? "of v2" : place.controllers);
}

Result<std::optional<CgroupRoom>> memory_room(std::string directory, const std::string& top) {
    std::optional<CgroupRoom> least;
    for (;;) {
        GC_TRY(const auto room, room_in(directory));
        if (room && (!least || *room < least->bytes))
            least = CgroupRoom{directory, *room};
        if (directory.size() <= top.size())
            return least;
        directory.resize(directory.rfind('/'));
    }
}

Result<std::optional<CgroupRoom>> memory_room(pid_t pid) {
    const auto cgroups = read_whole_file(fmt::format("/proc/{}/cgroup", pid));
    if (!cgroups)
        return std::nullopt;  // the kernel has no cgroups
    GC_TRY(const std::string mounts, read_whole_file("/proc/self/mountinfo"));
    std::optional<CgroupRoom> least;
    for (const CgroupPlace& place : cgroups_besides("", *cgroups)) {
        const bool memory = ("," + place.controllers + ",").find(",memory,") != std::string::npos;
        if (!place.controllers.empty() && !memory)
            continue;
        const auto directory = cgroup_directory(mounts, place);
        if (!directory)
            continue;  // in a container, only the part that is shown counts
        const std::string top =
            directory->substr(0, directory->size() - (place.path == "/" ? 0 : place.path.size()));
        GC_TRY(const auto room, memory_room(*directory, top));
        if (room && (!least || room->bytes < least->bytes))
            least = room;
    }
    return least;
}

}  // namespace util
}  // namespace gc
