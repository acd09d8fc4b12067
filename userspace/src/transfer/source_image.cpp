// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/source_image.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

namespace gc {
namespace {

bool all_zero(std::span<const std::byte> bytes) {
    return bytes[0] == std::byte{0} &&
           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

}  // namespace

Result<SourceImage> SourceImage::map(std::vector<ImageBlock> blocks) {
    SourceImage image;
    for (const ImageBlock& block : blocks) {
        GC_TRY(Mapping map, Mapping::map(block.file.get(), block.length, PROT_READ, MAP_SHARED,
                                         static_cast<off_t>(block.offset),
                                         fmt::format("the RAM block {}", block.name)));
        image.maps_.push_back(std::move(map));
    }
    image.blocks_ = std::move(blocks);
    return image;
}

std::size_t SourceImage::find(std::string_view name) const {
    const auto found = std::ranges::find(blocks_, name, &ImageBlock::name);
    return found == blocks_.end() ? none : static_cast<std::size_t>(found - blocks_.begin());
}

std::optional<std::span<const std::byte>> SourceImage::page(std::size_t block,
                                                            std::uint64_t number) const {
    const ImageBlock& source = blocks_[block];
    const auto at = static_cast<off_t>(source.offset + number * page_size);
    // lseek does not disturb anybody: the open file description is our own.
    if (const off_t data = ::lseek(source.file.get(), at, SEEK_DATA);
        data > at || (data < 0 && errno == ENXIO))
        return std::nullopt;
    const auto bytes = maps_[block].bytes().subspan(number * page_size, page_size);
    if (all_zero(bytes))
        return std::nullopt;
    return bytes;
}

}  // namespace gc
