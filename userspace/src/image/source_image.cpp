// SPDX-License-Identifier: GPL-2.0-or-later
#include "image/source_image.h"

#include "util/file_extents.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace gc::image {
namespace {

/// The number of pages in a View. Page tables are allocated for the view only, not for the whole
/// block.
constexpr std::uint64_t view_pages = 512;
static_assert(view_pages % SourceImage::window == 0);

FileExtent extent_of(const ImageBlock& block) {
    return {block.file.get(), block.offset, block.length / page_size};
}

PageContent content_of(std::span<const std::byte> bytes) {
    const bool zero = bytes[0] == std::byte{0} &&
                      std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
    return zero ? PageContent() : PageContent(bytes);
}

/// Whether to map the block's file. Faulting in and unmapping a small page costs more than copying
/// it. A huge page takes a single fault, while copying it needs a buffer of its size. A device
/// (DAX) can only be mapped.
Result<bool> should_map(const ImageBlock& block) {
    if (block.memory)
        return false;
    struct stat file {};
    struct statfs system {};
    if (::fstat(block.file.get(), &file) != 0 || ::fstatfs(block.file.get(), &system) != 0)
        return fail_errno(errno, fmt::format("stat the file of RAM block {}", block.name));
    return !S_ISREG(file.st_mode) || system.f_type == HUGETLBFS_MAGIC;
}

}  // namespace

Result<SourceImage> SourceImage::open(std::vector<ImageBlock> blocks) {
    SourceImage image;
    for (const ImageBlock& block : blocks) {
        GC_TRY(const bool map, should_map(block));
        if (!map) {
            image.maps_.emplace_back();
            continue;
        }
        GC_TRY(Mapping mapping, Mapping::map(block.file.get(), block.length, PROT_READ, MAP_SHARED,
                                             static_cast<off_t>(block.offset),
                                             fmt::format("RAM block {}", block.name)));
        image.maps_.push_back(std::move(mapping));
    }
    image.blocks_ = std::move(blocks);
    return image;
}

std::size_t SourceImage::find(std::string_view name) const {
    const auto found = std::ranges::find(blocks_, name, &ImageBlock::name);
    return found == blocks_.end() ? none : static_cast<std::size_t>(found - blocks_.begin());
}

std::span<const std::byte> SourceImage::bytes_of(std::size_t block, std::uint64_t number) const {
    return maps_[block].bytes().subspan(number * page_size, page_size);
}

Result<void> SourceImage::copy(std::size_t block, std::uint64_t first,
                               std::span<std::byte> into) const {
    const ImageBlock& source = blocks_[block];
    if (source.memory)
        return source.memory->read(first * page_size, into);
    // Unlike access through a mapping, pread does not allocate the holes that it reads.
    for (std::uint64_t at = source.offset + first * page_size; !into.empty();) {
        const ssize_t got =
            ::pread(source.file.get(), into.data(), into.size(), static_cast<off_t>(at));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_errno(errno, fmt::format("read RAM block {}", source.name));
        if (got == 0)
            return fail(ErrorKind::io, "the file of RAM block {} ends at byte {}", source.name, at);
        into = into.subspan(static_cast<std::size_t>(got));
        at += static_cast<std::uint64_t>(got);
    }
    return {};
}

Result<PageContent> SourceImage::mapped(std::size_t block, std::uint64_t number) const {
    GC_TRY(const std::uint64_t data, next_data(block, number));
    if (data > number)
        return std::nullopt;
    return content_of(bytes_of(block, number));
}

Result<void> SourceImage::read(std::size_t block, std::uint64_t first, std::span<PageContent> into,
                               std::span<std::byte> room, Known known) const {
    if (known == Known::zeros) {
        std::ranges::fill(into, std::nullopt);
        return {};
    }
    if (!is_copied(block)) {
        for (std::size_t i = 0; i < into.size(); ++i) {
            if (known == Known::data)
                into[i] = bytes_of(block, first + i);
            else {
                GC_TRY(into[i], mapped(block, first + i));
            }
        }
        return {};
    }
    room = room.first(into.size() * page_size);
    GC_CHECK(copy(block, first, room));
    for (std::size_t i = 0; i < into.size(); ++i) {
        const auto page = room.subspan(i * page_size, page_size);
        into[i] = known == Known::data ? PageContent(page) : content_of(page);
    }
    return {};
}

Result<SourceImage::Found> SourceImage::find_data(std::size_t block, std::uint64_t first,
                                                  std::uint64_t count, std::span<std::byte> room,
                                                  View& view) const {
    Found found;
    if (!is_copied(block)) {
        const auto there = maps_[block].bytes().subspan(first * page_size, count * page_size);
        GC_TRY(found.data, find_mapped(block, first, there));
    } else if (is_in_file(block)) {
        GC_CHECK(show(view, block, first));
        const auto there =
            view.mapping_->bytes().subspan((first - view.first_) * page_size, count * page_size);
        GC_TRY(found.data, find_mapped(block, first, there));
    } else {
        GC_CHECK(copy(block, first, room.first(count * page_size)));
        for (std::uint64_t i = 0; i < count; ++i)
            found.data |=
                std::uint64_t{content_of(room.subspan(i * page_size, page_size)).has_value()} << i;
        found.copied = true;
    }
    return found;
}

Result<std::uint64_t> SourceImage::find_mapped(std::size_t block, std::uint64_t first,
                                               std::span<const std::byte> there) const {
    // Resident pages are not holes. Ask the file system about the others only: mincore covers the
    // whole range in one call and, unlike lseek, does not take the inode's lock (shmem_file_llseek
    // in mm/shmem.c, 6.1).
    std::array<unsigned char, window> resident{};
    if (::mincore(const_cast<std::byte*>(there.data()), there.size(), resident.data()) != 0)
        resident.fill(0);
    const std::uint64_t end = first + there.size() / page_size;
    std::uint64_t found = 0;
    for (std::uint64_t number = first; number < end;) {
        const std::uint64_t i = number - first;
        if ((resident[i] & 1U) == 0) {
            GC_TRY(const std::uint64_t data, next_data(block, number));
            if (data > number) {
                number = data;
                continue;
            }
        }
        const auto page = content_of(there.subspan(i * page_size, page_size));
        found |= std::uint64_t{page.has_value()} << i;
        ++number;
    }
    return found;
}

Result<void> SourceImage::show(View& view, std::size_t block, std::uint64_t first) const {
    const std::uint64_t begin = first - first % view_pages;
    if (view.block_ == block && view.first_ == begin)
        return {};
    const ImageBlock& source = blocks_[block];
    const std::uint64_t count = std::min(view_pages, source.length / page_size - begin);
    const std::uint64_t offset = source.offset + begin * page_size;
    view.block_ = none;
    view.file_ = -1;
    // First, so that a new one can take its place in memory.
    view.mapping_.reset();
    GC_TRY(Mapping mapping, Mapping::map(source.file.get(), count * page_size, PROT_READ,
                                         MAP_SHARED, static_cast<off_t>(offset),
                                         fmt::format("part of RAM block {}", source.name)));
    view.mapping_ = std::make_shared<const Mapping>(std::move(mapping));
    view.block_ = block;
    view.first_ = begin;
    view.file_ = source.file.get();
    view.offset_ = offset;
    return {};
}

HeldBytes SourceImage::View::bytes(int file, std::uint64_t offset, std::size_t size) const {
    if (mapping_ == nullptr || file_ != file || offset < offset_ ||
        offset + size > offset_ + mapping_->size())
        return {};
    return {mapping_->bytes().subspan(offset - offset_, size), mapping_};
}

Result<std::uint64_t> SourceImage::next_data(std::size_t block, std::uint64_t number) const {
    const ImageBlock& source = blocks_[block];
    return source.memory ? source.memory->next_data(number)
                         : next_data_page(extent_of(source), number);
}

Result<std::uint64_t> SourceImage::next_hole(std::size_t block, std::uint64_t number) const {
    const ImageBlock& source = blocks_[block];
    return source.memory ? source.memory->next_hole(number)
                         : next_hole_page(extent_of(source), number);
}

}  // namespace gc::image
