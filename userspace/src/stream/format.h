// SPDX-License-Identifier: GPL-2.0-or-later
// QEMU's migration stream, version 3, as QEMU 7.2 to 11 send it in pre-copy and post-copy without
// multifd, compression, XBZRLE, RDMA and mapped-ram. Integers are big-endian. Strings follow their
// length and have no NUL. Sources: migration/savevm.c, savevm.h, ram.c, migration.c.
//
//   stream      := header configuration? entry* EOF description?
//   header      := be32 'QEVM', be32 3
//   configuration := CONFIGURATION be32 n, machine[n], subsection*
//   subsection  := SUBSECTION u8 n, name[n], be32 version, fields that depend on the name
//   entry       := section | command
//   section     := (START|FULL) be32 id, u8 n, name[n], be32 instance, be32 version, body, footer?
//                | (PART|END) be32 id, body, footer?
//   footer      := FOOTER be32 id                    absent with migration.send-section-footer=off
//   command     := COMMAND be16 code, be16 n, payload[n]
//                  the payload of PACKAGED is be32 m; m bytes follow it
//   description := VM_DESCRIPTION be32 n, json[n]    pre-copy only
//
//   body of ram := record* (be64 EOS)
//   record      := be64 (offset | flags): bytes into the RAM block; then
//                  MEM_SIZE: the offset is the sum of the blocks' lengths;
//                            for each block, until that sum is reached:
//                            u8 n, name[n], be64 length, be64 page size?, be64 guest address?
//                  PAGE:     block?, 4096 bytes
//                  ZERO:     block?, u8 0
//   block       := u8 n, name[n]                     absent with CONTINUE:
//                                                    the block of the previous record,
//                                                    even across sections
//
// Without knowing the device, only sections named "ram" (version 4) can be parsed. Device sections
// come in a package in post-copy, and after the END of ram if pre-copy converged.
//
// The page size is present if the source has postcopy-ram and the block's pages do not have the
// usual size. No name is empty and every record has flags, so the bytes alone tell. The guest
// address is present with x-ignore-shared, which QEMU does not allow together with postcopy-ram.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace gc::stream {

inline constexpr std::uint32_t file_magic = 0x5145564d;  // "QEVM"
inline constexpr std::uint32_t file_version = 3;
inline constexpr std::uint32_t multifd_magic = 0x11223344;  // start of a multifd channel
inline constexpr std::size_t target_page = 4096;
inline constexpr std::uint32_t ram_version = 4;
inline constexpr std::string_view ram_section_name = "ram";
inline constexpr std::string_view capabilities_subsection = "configuration/capabilities";
inline constexpr std::string_view page_bits_subsection = "configuration/target-page-bits";
inline constexpr std::string_view uuid_subsection = "configuration/uuid";

/// QEMU_VM_* in migration/savevm.h
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
    switchover_start = 11,  // since 10.0, from machine types of 10.0 and later
};

/// RAM_SAVE_FLAG_* in migration/ram.c
enum RamFlag : std::uint64_t {
    ram_zero = 0x02,
    ram_mem_size = 0x04,
    ram_page = 0x08,
    ram_eos = 0x10,
    ram_continue = 0x20,
    ram_xbzrle = 0x40,
    ram_hook = 0x80,            // RDMA
    ram_compress = 0x100,       // until 9.0
    ram_multifd_flush = 0x200,  // since 8.0
};
inline constexpr std::uint64_t ram_flag_mask = target_page - 1;

// Limits on lengths in the stream. Each is far above what QEMU sends.
inline constexpr std::size_t max_name = 255;
inline constexpr std::size_t max_machine_name = 4096;
inline constexpr std::uint32_t max_capabilities = 256;
inline constexpr std::size_t max_blocks = 4096;
inline constexpr std::uint64_t max_ram = std::uint64_t{1} << 52;  // x86's physical address space
inline constexpr std::size_t max_description = 16U << 20;
/// A q35 with all devices sends 0.2 MiB. QEMU's own limit is 4 GiB (MAX_VM_CMD_PACKAGED_SIZE).
inline constexpr std::size_t max_package = 256U << 20;

}  // namespace gc::stream
