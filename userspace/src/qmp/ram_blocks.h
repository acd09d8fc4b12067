// SPDX-License-Identifier: GPL-2.0-or-later
// The guest memory of a QEMU process: RAM blocks and the host files behind them.
#pragma once

#include "qmp/client.h"
#include "qmp/monitor_text.h"
#include "util/process_maps.h"

#include <optional>
#include <span>
#include <vector>

namespace gc::qmp {

enum class Backing {
    shmem,         ///< shared memfd, tmpfs file or MAP_SHARED|MAP_ANONYMOUS: the file is the memory
    hugetlbfs,     ///< shared huge-page file
    file,          ///< shared mapping of a file on another file system
    anonymous,     ///< private memory without a file
    private_file,  ///< partly or fully a private file mapping, or several files: no single file has
                   ///< it all
    unknown,       ///< QEMU reports no address (ROMs before 8.2, memory that is not plugged in)
};
std::string_view to_string(Backing backing);

struct RamBlock {
    std::string name;
    std::string backend;          ///< id of the memory backend, or empty if it is not guest RAM
    std::uint64_t length = 0;     ///< bytes in use
    std::uint64_t page_size = 0;  ///< bytes, of the host page
    std::uint64_t hva = 0;        ///< address in QEMU's address space; 0 with Backing::unknown
    Backing backing = Backing::unknown;
    /// O_RDONLY. Set with shmem, hugetlbfs and file, and with private_file if it is a single file,
    /// which then has the content of pages that QEMU has not written.
    UniqueFd file;
    std::uint64_t file_offset = 0;  ///< bytes, position of the block in the file

    /// Whether its content is read from the file instead of QEMU's memory. Reading holes of a
    /// huge-page file would populate them.
    [[nodiscard]] bool in_file() const { return backing == Backing::shmem; }

    /// Why guidecopy cannot migrate this block, and the remedy.
    struct Obstacle {
        std::string what;
        std::string remedy;
    };
    [[nodiscard]] std::optional<Obstacle> obstacle() const;

    /// Guest RAM has a memory backend (-object, or the machine's own). ROMs and video memory do
    /// not.
    [[nodiscard]] bool is_guest_ram() const { return !backend.empty(); }
};

/// QEMU's own table of them. Errors: those of Client.
Result<std::vector<RamBlockLine>> ram_block_lines(Client& client);

/// The memory backends of virtio-mem devices. Errors: those of Client.
Result<std::vector<std::string>> virtio_mem_devices(Client& client);

/// All RAM blocks, in QEMU's order. Opening their files needs ptrace permission on the process.
/// Works with QEMU 7.2 and later, and does not affect the guest.
/// @param pid the QEMU process. Errors: those of Client; io, if a file cannot be opened
Result<std::vector<RamBlock>> ram_blocks(Client& client, pid_t pid);
/// Does the same for the process at the other end of the socket.
Result<std::vector<RamBlock>> ram_blocks(Client& client);

/// The backing of [hva, hva + length), found without opening it. Exposed for its tests.
struct Span {
    Backing backing = Backing::unknown;
    bool one_file = false;  ///< all of it maps one file contiguously
    std::uint64_t file_offset = 0;
    const MapsLine* first = nullptr;  ///< the mapping that contains hva
};
Result<Span> locate(std::span<const MapsLine> maps, std::uint64_t hva, std::uint64_t length);

}  // namespace gc::qmp
