// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/file_extents.h"

#include "util/page.h"

#include <algorithm>
#include <cerrno>
#include <unistd.h>

namespace gc {
inline namespace util {

std::uint64_t next_data_page(const FileExtent& extent, std::uint64_t page) {
    if (page >= extent.end)
        return extent.end;
    const std::uint64_t from = extent.offset + page * page_size;
    const off_t data = ::lseek(extent.fd, static_cast<off_t>(from), SEEK_DATA);
    if (data < 0)
        return errno == ENXIO ? extent.end : page;
    return std::min(extent.end, page + (static_cast<std::uint64_t>(data) - from) / page_size);
}

std::uint64_t next_hole_page(const FileExtent& extent, std::uint64_t page) {
    if (page >= extent.end)
        return extent.end;
    const std::uint64_t from = extent.offset + page * page_size;
    const off_t hole = ::lseek(extent.fd, static_cast<off_t>(from), SEEK_HOLE);
    if (hole < 0)
        return errno == ENXIO ? page : extent.end;
    const std::uint64_t bytes = static_cast<std::uint64_t>(hole) - from;
    return std::min(extent.end, page + (bytes + page_size - 1) / page_size);
}

}  // namespace util
}  // namespace gc
