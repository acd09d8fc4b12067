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

Result<SourceImage> SourceImage::open(std::vector<ImageBlock> blocks) {
    SourceImage image;
    for (const ImageBlock& block : blocks) {
        if (block.memory) {
            image.maps_.emplace_back();
            continue;
        }
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

Result<PageContent> SourceImage::page(std::size_t block, std::uint64_t number,
                                      PageRoom& room) const {
    GC_TRY(const std::uint64_t data, next_data(block, number));
    if (data > number)
        return std::nullopt;
    std::span<const std::byte> bytes(room);
    if (const auto& memory = blocks_[block].memory) {
        GC_CHECK(memory->read(number * page_size, room));
    } else {
        bytes = maps_[block].bytes().subspan(number * page_size, page_size);
    }
    return all_zero(bytes) ? PageContent() : PageContent(bytes);
}

Result<std::uint64_t> SourceImage::next_data(std::size_t block, std::uint64_t number) const {
    const ImageBlock& source = blocks_[block];
    if (source.memory)
        return source.memory->next_touched(number);
    const std::uint64_t end = source.length / page_size;
    if (number >= end)
        return end;
    // lseek does not disturb anybody: the open file description is our own.
    const off_t data = ::lseek(source.file.get(),
                               static_cast<off_t>(source.offset + number * page_size), SEEK_DATA);
    if (data < 0)
        return errno == ENXIO ? end : number;  // a file system without holes has data everywhere
    const std::uint64_t found = (static_cast<std::uint64_t>(data) - source.offset) / page_size;
    return std::min(found, end);
}

}  // namespace gc
