// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/source_image.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

namespace gc {
namespace {

/// Pages of has_data() that are read together.
constexpr std::uint64_t look_ahead = 16;

PageContent content_of(std::span<const std::byte> bytes) {
    const bool zero = bytes[0] == std::byte{0} &&
                      std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
    return zero ? PageContent() : PageContent(bytes);
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

Result<PageContent> SourceImage::mapped(std::size_t block, std::uint64_t number) const {
    GC_TRY(const std::uint64_t data, next_data(block, number));
    if (data > number)
        return std::nullopt;
    return content_of(maps_[block].bytes().subspan(number * page_size, page_size));
}

Result<void> SourceImage::read(std::size_t block, std::uint64_t first, std::span<PageContent> into,
                               std::span<std::byte> room) const {
    if (!is_copied(block)) {
        for (std::size_t i = 0; i < into.size(); ++i) {
            GC_TRY(into[i], mapped(block, first + i));
        }
        return {};
    }
    room = room.first(into.size() * page_size);
    GC_CHECK(blocks_[block].memory->read(first * page_size, room));
    for (std::size_t i = 0; i < into.size(); ++i)
        into[i] = content_of(room.subspan(i * page_size, page_size));
    return {};
}

Result<bool> SourceImage::has_data(std::size_t block, std::uint64_t first,
                                   std::uint64_t count) const {
    std::array<PageContent, look_ahead> contents;
    std::array<std::byte, look_ahead * page_size> room;
    for (std::uint64_t done = 0; done < count; done += look_ahead) {
        const auto some = std::span(contents).first(std::min(look_ahead, count - done));
        GC_CHECK(read(block, first + done, some, room));
        if (std::ranges::any_of(some, [](const PageContent& page) { return page.has_value(); }))
            return true;
    }
    return false;
}

Result<std::uint64_t> SourceImage::next_data(std::size_t block, std::uint64_t number) const {
    const ImageBlock& source = blocks_[block];
    if (source.memory)
        return source.memory->next_data(number);
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
