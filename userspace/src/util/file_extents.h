// SPDX-License-Identifier: GPL-2.0-or-later
// Which pages of a sparse file have data.
#pragma once

#include <cstdint>

namespace gc {
inline namespace util {

/// A part of a file, in pages. lseek() moves the file's position: nobody else may rely on that.
struct FileExtent {
    int fd = -1;
    std::uint64_t offset = 0;  ///< of page 0 in the file, in bytes
    std::uint64_t end = 0;     ///< number of pages
};

/// The first page at or after `page` that may have data (SEEK_DATA), or the end. Where the file
/// system does not know of holes, that is `page`.
[[nodiscard]] std::uint64_t next_data_page(const FileExtent& extent, std::uint64_t page);
/// The first page at or after `page` that is all hole (SEEK_HOLE), or the end. What lies behind the
/// end of the file is a hole, too.
[[nodiscard]] std::uint64_t next_hole_page(const FileExtent& extent, std::uint64_t page);

}  // namespace util
}  // namespace gc
