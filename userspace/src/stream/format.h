// SPDX-License-Identifier: GPL-2.0-or-later
// QEMU's migration stream, version 3, as QEMU 7.2 to 11 send it without multifd, compression and RDMA.
// All integers are big-endian. Names and numbers: migration/savevm.c, savevm.h, ram.c, migration.c.
//
//   stream    := header configuration? entry* EOF (VMDESCRIPTION)?
//   header    := be32 'QEVM', be32 3
//   entry     := section | command
//   section   := START|FULL id idstr instance version body footer?  |  PART|END id body footer?
//   footer    := FOOTER id
//   command   := COMMAND be16 code, be16 length, payload; PACKAGED: be32 n, then n bytes behind the payload
//   ram body  := record* with EOS last; record := be64 (offset | flags) ...
//
// Only the section "ram" (version 4) can be taken apart without knowing the device; device sections come
// inside a package in post-copy, and after END of ram when pre-copy converged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace gc::stream {

inline constexpr std::uint32_t file_magic = 0x5145564d;  // "QEVM"
inline constexpr std::uint32_t file_version = 3;
inline constexpr std::size_t target_page = 4096;
inline constexpr std::uint32_t ram_version = 4;
inline constexpr std::string_view ram_section_name = "ram";

enum class Tag : std::uint8_t {
    eof = 0x00,
    section_start = 0x01,
    section_part = 0x02,
    section_end = 0x03,
    section_full = 0x04,
    subsection = 0x05,
    vm_description = 0x06,
    configuration = 0x07,
    command = 0x08,
    section_footer = 0x7e,
};

/// enum qemu_vm_cmd in migration/savevm.c
enum class CommandCode : std::uint16_t {
    open_return_path = 1,
    ping = 2,
    postcopy_advise = 3,
    postcopy_listen = 4,
    postcopy_run = 5,
    postcopy_ram_discard = 6,
    packaged = 7,
    enable_colo = 8,
    postcopy_resume = 9,
    recv_bitmap = 10,
    switchover_start = 11,  // 10.0
};

/// RAM_SAVE_FLAG_* in migration/ram.c
enum RamFlag : std::uint64_t {
    ram_zero = 0x02,
    ram_mem_size = 0x04,
    ram_page = 0x08,
    ram_eos = 0x10,
    ram_continue = 0x20,
    ram_xbzrle = 0x40,
    ram_hook = 0x80,
    ram_compress = 0x100,
    ram_multifd_flush = 0x200,
};
inline constexpr std::uint64_t ram_flag_mask = target_page - 1;

// Caps, to be checked before a length is trusted.
inline constexpr std::size_t max_package = 256U << 20;       // a q35 with everything: 0.2 MiB
inline constexpr std::size_t max_machine_name = 4096;
inline constexpr std::uint64_t max_ram = std::uint64_t{1} << 52;
inline constexpr std::size_t max_description = 64U << 20;

}  // namespace gc::stream
