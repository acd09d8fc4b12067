// SPDX-License-Identifier: GPL-2.0-or-later
// Where a QEMU keeps its guest's memory: RAM blocks, and the host files behind them.
#pragma once

#include "qmp/client.h"
#include "util/process_maps.h"

#include <optional>
#include <span>
#include <vector>

namespace gc::qmp {

enum class Backing {
    shmem,         ///< shared memfd, tmpfs file or MAP_SHARED|MAP_ANONYMOUS: the file is the memory
    hugetlbfs,     ///< shared huge-page file
    file,          ///< shared mapping of a file of another file system
    anonymous,     ///< private memory without a file
    private_file,  ///< all or part of it maps a file privately, or several: no file has it all
    unknown,       ///< QEMU shows no address for it (ROMs before 8.2, memory that is not plugged)
};
std::string_view to_string(Backing backing);

struct RamBlock {
    std::string name;
    std::string backend;          ///< id of its memory backend if it is guest RAM, else empty
    std::uint64_t length = 0;     ///< bytes in use
    std::uint64_t page_size = 0;  ///< bytes, of the host page
    std::uint64_t hva = 0;        ///< start in QEMU's address space; 0 with Backing::unknown
    Backing backing = Backing::unknown;
    /// O_RDONLY; with shmem, hugetlbfs and file, and with private_file if it is one: then it shows
    /// where QEMU has written nothing.
    UniqueFd file;
    std::uint64_t file_offset = 0;  ///< bytes, where the block starts in the file

    /// Whether its bytes are to be read in the file, and not in QEMU's memory. A file of huge pages
    /// would have to be populated where it has none.
    [[nodiscard]] bool in_file() const { return backing == Backing::shmem; }

    /// Why guidecopy cannot take it to another host, if so, and what to do about it.
    struct Obstacle {
        std::string what;
        std::string remedy;
    };
    [[nodiscard]] std::optional<Obstacle> obstacle() const;

    /// Guest RAM has a memory backend (-object, or the machine's own); ROMs and video memory do
    /// not.
    [[nodiscard]] bool is_guest_ram() const { return !backend.empty(); }
};

/// All RAM blocks, in QEMU's order. Needs ptrace permission on the process for the files.
/// Works on any QEMU >= 7.2, and does not touch the guest.
/// @param pid the QEMU process. Errors: those of Client; io when its files cannot be opened
Result<std::vector<RamBlock>> ram_blocks(Client& client, pid_t pid);
/// The same for the process at the other end of the socket.
Result<std::vector<RamBlock>> ram_blocks(Client& client);

/// What backs [hva, hva + length), without opening it. Exposed for its tests.
struct Span {
    Backing backing = Backing::unknown;
    bool one_file = false;  ///< all of it maps one file, in order
    std::uint64_t file_offset = 0;
    const MapsLine* first = nullptr;  ///< the mapping that holds hva
};
Result<Span> locate(std::span<const MapsLine> maps, std::uint64_t hva, std::uint64_t length);

}  // namespace gc::qmp
