// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/guest_memory.h"

#include <cerrno>
#include <fcntl.h>

namespace gc::migrate {

Result<std::vector<qmp::RamBlock>> guest_ram(qmp::Client& source, pid_t pid) {
    GC_TRY(std::vector<qmp::RamBlock> blocks, qmp::ram_blocks(source, pid));
    std::vector<qmp::RamBlock> guest_ram;
    for (qmp::RamBlock& block : blocks) {
        if (!block.is_guest_ram())
            continue;
        if (const auto obstacle = block.obstacle())
            return fail(ErrorKind::unsupported, "{}: {}", obstacle->what, obstacle->remedy);
        guest_ram.push_back(std::move(block));
    }
    if (guest_ram.empty())
        return fail(ErrorKind::protocol, "the source QEMU lists no RAM block with guest RAM");
    return guest_ram;
}

Result<std::vector<image::ImageBlock>> open_image(const std::vector<qmp::RamBlock>& guest_ram,
                                                  pid_t pid) {
    std::vector<image::ImageBlock> image;
    for (const qmp::RamBlock& block : guest_ram) {
        // Opened again, not dup'ed: each reader needs its own file position for SEEK_DATA.
        UniqueFd file;
        if (block.file) {
            file.reset(::open(fmt::format("/proc/self/fd/{}", block.file.get()).c_str(),
                              O_RDONLY | O_CLOEXEC));
            if (!file)
                return fail_errno(errno,
                                  fmt::format("open the memory of RAM block {}", block.name));
        }
        if (!block.in_file()) {
            std::optional<Underlay> underlay;
            if (file || block.backing == qmp::Backing::anonymous)
                underlay = Underlay{std::move(file), block.file_offset};
            GC_TRY(ProcessMemory memory,
                   ProcessMemory::open(pid, block.hva, block.length, std::move(underlay)));
            image.push_back({.name = block.name,
                             .backend = block.backend,
                             .length = block.length,
                             .file = {},
                             .offset = 0,
                             .memory = std::move(memory)});
            continue;
        }
        image.push_back({.name = block.name,
                         .backend = block.backend,
                         .length = block.length,
                         .file = std::move(file),
                         .offset = block.file_offset,
                         .memory = {}});
    }
    return image;
}

}  // namespace gc::migrate
