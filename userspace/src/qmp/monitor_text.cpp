// SPDX-License-Identifier: GPL-2.0-or-later
#include "qmp/monitor_text.h"

#include "util/text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <regex>

namespace gc::qmp {

namespace {

/// @param digits at most 16 hexadecimal digits without 0x; the regular expressions ensure this
std::uint64_t hex(std::string_view digits) {
    std::uint64_t value = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    return value;
}

std::uint64_t scaled_size(const std::string& number, const std::string& unit) {
    constexpr std::string_view prefixes = "BKMGTPE";
    const auto power = static_cast<double>(prefixes.find(unit[0]));
    return static_cast<std::uint64_t>(std::llround(std::stod(number) * std::exp2(10 * power)));
}

}  // namespace

Result<std::vector<RamBlockLine>> parse_ram_blocks(std::string_view text) {
    // Names are right-aligned and may contain spaces, so match the columns from the right. A block
    // that QEMU never migrates, such as virtio-pmem's, has no name.
    static const std::regex row(R"(\s*(?:(\S|\S.*\S)\s+)?([0-9]{1,4}(?:\.[0-9]+)?) (B|[KMGTPE]iB))"
                                R"(\s+0x[0-9a-f]{16}\s+0x([0-9a-f]{16})\s+0x([0-9a-f]{16}))"
                                R"((?:\s+0x([0-9a-f]{16}))?(?:\s+r[ow])?\s*)");
    std::vector<RamBlockLine> blocks;
    for (const std::string& line : lines_of(text)) {
        const bool header = line.find("Block Name") != std::string::npos;
        if (header || line.find_first_not_of(' ') == std::string::npos)
            continue;
        std::smatch column;
        if (!std::regex_match(line, column, row))
            return fail(ErrorKind::protocol,
                        "x-query-ramblock: expected a row of name, page size, offset, used and "
                        "total length, found '{}'",
                        line);
        RamBlockLine block;
        block.name = column[1];
        block.page_size = scaled_size(column[2], column[3]);
        block.used_length = hex(column[4].str());
        block.max_length = hex(column[5].str());
        if (column[6].matched)
            block.hva = hex(column[6].str());
        blocks.push_back(std::move(block));
    }
    if (blocks.empty())
        return fail(ErrorKind::protocol, "x-query-ramblock: expected RAM blocks, found none");
    return blocks;
}

Result<std::vector<FlatRange>> parse_flat_view(std::string_view text) {
    // mtree_print_flatview, softmmu/memory.c: "START-END (prio N, KIND): NAME[ @OFFSET][
    // ACCEL]...", with the accelerator once for each address space that has the view.
    static const std::regex row(R"(\s+([0-9a-f]{16})-([0-9a-f]{16}) \(prio -?[0-9]+, ([^)]*)\): )"
                                R"((.*?)(?: @([0-9a-f]{16}))?(?: KVM)*)");
    std::vector<FlatRange> ranges;
    bool in_memory = false;
    bool found = false;
    for (const std::string& line : lines_of(text)) {
        if (line.starts_with("FlatView #"))
            in_memory = false;
        if (line.find("AS \"memory\",") != std::string::npos)
            in_memory = found = true;
        std::smatch column;
        if (!in_memory || !std::regex_match(line, column, row) || column[3] != "ram")
            continue;
        FlatRange range;
        range.gpa = hex(column[1].str());
        range.length = hex(column[2].str()) - range.gpa + 1;
        range.region = column[4];
        range.offset = column[5].matched ? hex(column[5].str()) : 0;
        ranges.push_back(std::move(range));
    }
    if (!found)
        return fail(ErrorKind::protocol,
                    "info mtree -f: expected the address space \"memory\", found none");
    return ranges;
}

Result<HostAddress> parse_gpa2hva(std::string_view text) {
    static const std::regex row(
        R"(Host virtual address for 0x[0-9a-f]+ \((.*)\) is 0x([0-9a-f]{1,16})\s*)");
    std::cmatch column;
    if (!std::regex_match(text.data(), text.data() + text.size(), column, row))
        return fail(ErrorKind::protocol, "gpa2hva: expected a host virtual address, found '{}'",
                    text.substr(0, std::min(text.find_first_of("\r\n"), text.size())));
    return HostAddress{column[1], hex(column[2].str())};
}

namespace {

/// The value of "key=value" in "a=b,key=value,...".
std::string value_of(std::string_view fields, std::string_view key) {
    while (!fields.empty()) {
        const std::string_view field = fields.substr(0, fields.find(','));
        if (field.size() > key.size() && field.starts_with(key) && field[key.size()] == '=')
            return std::string(field.substr(key.size() + 1));
        fields.remove_prefix(std::min(fields.size(), field.size() + 1));
    }
    return {};
}

}  // namespace

std::vector<NetworkNic> parse_networks(std::string_view text) {
    // hmp_info_network() in net/net.c, 7.2: a NIC's line, and below it, behind " \\ ", its back
    // end's. Each further queue has lines of its own, without a MAC.
    constexpr std::string_view below = " \\ ";
    std::vector<NetworkNic> nics;
    bool of_nic = false;
    for (const std::string& line : lines_of(text)) {
        const std::size_t colon = line.find(": ");
        const bool inner = line.starts_with(below);
        const std::string_view fields = colon == std::string::npos
                                            ? std::string_view()
                                            : std::string_view(line).substr(colon + 2);
        const std::string type = value_of(fields, "type");
        if (!inner) {
            const std::string mac = value_of(fields, "macaddr");
            of_nic = type == "nic" && !mac.empty();
            if (of_nic)
                nics.push_back({line.substr(0, colon), mac, {}, {}, -1});
        } else if (of_nic) {
            nics.back().backend = type;
            nics.back().ifname = value_of(fields, "ifname");
            const std::string fd = value_of(fields, "fd");
            std::from_chars(fd.data(), fd.data() + fd.size(), nics.back().fd);
        }
    }
    return nics;
}

std::map<std::string, NetworkBackend> parse_backends(std::string_view text) {
    constexpr std::string_view below = " \\ ";
    std::map<std::string, NetworkBackend> backends;
    for (const std::string& line : lines_of(text)) {
        const std::size_t colon = line.find(": ");
        if (!line.starts_with(below) || colon == std::string::npos)
            continue;
        NetworkBackend& backend = backends[line.substr(below.size(), colon - below.size())];
        backend.type = value_of(std::string_view(line).substr(colon + 2), "type");
        ++backend.queues;
    }
    return backends;
}

}  // namespace gc::qmp
