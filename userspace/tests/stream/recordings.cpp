// SPDX-License-Identifier: GPL-2.0-or-later
#include "recordings.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fmt/format.h>
#include <memory>
#include <stdexcept>
#include <zlib.h>

namespace gc::stream {
namespace {

const std::filesystem::path directory = std::filesystem::path(GC_TEST_DATA) / "streams";
constexpr std::string_view suffix = ".stream.gz";

}  // namespace

std::vector<std::string> recordings(std::string_view part) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
        std::string name = entry.path().lexically_relative(directory);
        if (!name.ends_with(suffix) || name.find(part) == std::string::npos)
            continue;
        name.resize(name.size() - suffix.size());
        names.push_back(std::move(name));
    }
    std::ranges::sort(names);
    return names;
}

Buffer recorded(const std::string& recording, std::string_view channel) {
    const std::filesystem::path path = directory / fmt::format("{}.{}.gz", recording, channel);
    if (!std::filesystem::exists(path))
        return {};
    const std::unique_ptr<gzFile_s, decltype(&gzclose)> file(gzopen(path.c_str(), "rb"), gzclose);
    if (!file)
        throw std::runtime_error(fmt::format("cannot open {}", path.string()));
    Buffer out;
    std::array<std::byte, 65536> chunk;
    for (;;) {
        const int got = gzread(file.get(), chunk.data(), chunk.size());
        if (got < 0)
            throw std::runtime_error(fmt::format("cannot read {}", path.string()));
        if (got == 0)
            return out;
        append(out, std::span(chunk).first(static_cast<std::size_t>(got)));
    }
}

}  // namespace gc::stream
