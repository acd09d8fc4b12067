// SPDX-License-Identifier: GPL-2.0-or-later
#include "preflight/facts.h"

#include "preflight/disks.h"
#include "qmp/migration.h"
#include "qmp/qemu_process.h"
#include "qmp/ram_blocks.h"
#include "qmp/reply.h"
#include "util/text.h"
#include "util/whole_file.h"

#include <nlohmann/json.hpp>
#include <sys/stat.h>

namespace gc::preflight {
namespace {

using nlohmann::json;
using qmp::text_at;

Result<std::string> type_of(qmp::Client& qmp, const std::string& path) {
    GC_TRY(const json type, qmp.execute("qom-get", {{"path", path}, {"property", "type"}}));
    return type.is_string() ? type.get<std::string>() : std::string();
}

/// The CPUID bits that the guest sees. Only x86 has the property.
std::string features_of(qmp::Client& qmp, const std::string& cpu) {
    const auto words = qmp.execute("qom-get", {{"path", cpu}, {"property", "feature-words"}});
    if (!words || !words->is_array())
        return {};
    std::map<std::string, std::uint64_t> sorted;
    for (const json& word : *words) {
        if (!word.is_object() || !word.contains("features") ||
            !word["features"].is_number_unsigned() || word["features"] == 0U)
            continue;
        sorted[fmt::format("{:x}.{:x}.{}", word.value("cpuid-input-eax", 0U),
                           word.value("cpuid-input-ecx", 0U), text_at(word, "cpuid-register"))] =
            word["features"].get<std::uint64_t>();
    }
    std::string text;
    for (const auto& [leaf, bits] : sorted)
        text += fmt::format("{}{}={:x}", text.empty() ? "" : " ", leaf, bits);
    return text;
}

Result<void> ask_cpus(qmp::Client& qmp, peer::VmFacts& facts) {
    GC_TRY(const json cpus, qmp.execute("query-cpus-fast"));
    if (!cpus.is_array() || cpus.empty())
        return {};
    facts.cpus = cpus.size();
    const std::string first = text_at(cpus.front(), "qom-path");
    GC_TRY(facts.cpu_model, type_of(qmp, first));
    facts.cpu_features = features_of(qmp, first);
    return {};
}

/// QEMU's state has a record for each slot, whether a module is in it or not.
std::optional<std::uint64_t> memory_slots(qmp::Client& qmp) {
    const auto memory = qmp.execute("qom-get", {{"path", "/machine"}, {"property", "memory"}});
    if (!memory || !memory->is_object())
        return std::nullopt;
    const auto slots = memory->find("slots");
    return slots != memory->end() && slots->is_number_unsigned() ? slots->get<std::uint64_t>() : 0;
}

/// Devices of the command line, those that were plugged in later, and the machine's own.
Result<void> ask_devices(qmp::Client& qmp, peer::VmFacts& facts) {
    constexpr std::string_view child = "child<";
    for (const char* path :
         {"/machine/peripheral", "/machine/peripheral-anon", "/machine/unattached"}) {
        GC_TRY(const json list, qmp.execute("qom-list", {{"path", path}}));
        const bool unattached = std::string_view(path).ends_with("unattached");
        for (const json& entry : list) {
            const std::string type = text_at(entry, "type");
            // Among the machine's own are memory regions and interrupts, too.
            if (!type.starts_with(child) ||
                (unattached && !text_at(entry, "name").starts_with("device[")))
                continue;
            const std::string device = type.substr(child.size(), type.size() - child.size() - 1);
            if (device != facts.cpu_model)
                ++(unattached ? facts.board : facts.devices)[printable(device)];
        }
    }
    return {};
}

std::string shared_file(const qmp::RamBlock& block) {
    struct stat status {};
    if (!block.file || block.backing == qmp::Backing::private_file ||
        ::fstat(block.file.get(), &status) != 0)
        return {};
    return fmt::format("{}:{}", status.st_dev, status.st_ino);
}

/// The process, if it is a QEMU's: its monitor may be a manager's.
std::optional<pid_t> process_of(qmp::Client& qmp) {
    const auto process = qmp::QemuProcess::open(qmp);
    const auto pid = qmp.peer_pid();
    return process && *process && pid ? std::optional(*pid) : std::nullopt;
}

/// What would change the stream, or how it is read.
Result<void> ask_settings(qmp::Client& qmp, peer::VmFacts& facts) {
    GC_TRY(const qmp::Capabilities capabilities, qmp::query_capabilities(qmp));
    for (const auto& [name, on] : capabilities)
        if (on)
            facts.capabilities.push_back(printable(name));
    GC_TRY(const qmp::Parameters parameters, qmp::query_parameters(qmp));
    facts.tls_creds = printable(parameters.tls_creds);
    facts.mode = printable(parameters.mode);
    return {};
}

/// Identifies the memory files that another QEMU can have, too. Best effort: a QEMU whose process
/// cannot be looked into has none.
void ask_files(qmp::Client& qmp, peer::VmFacts& facts) {
    const auto blocks = qmp::ram_blocks(qmp);
    if (!blocks)
        return;
    for (const qmp::RamBlock& block : *blocks)
        for (peer::VmFacts::Block& fact : facts.blocks)
            if (fact.name == printable(block.name))
                fact.file = shared_file(block);
}

}  // namespace

Result<peer::VmFacts> facts_of(qmp::Client& qmp) {
    peer::VmFacts facts;
    constexpr std::string_view suffix = "-machine";
    facts.qemu = fmt::format("{}.{}", qmp.version().major, qmp.version().minor);
    GC_TRY(facts.machine, type_of(qmp, "/machine"));
    if (facts.machine.ends_with(suffix))
        facts.machine.resize(facts.machine.size() - suffix.size());
    GC_CHECK(ask_cpus(qmp, facts));
    GC_TRY(const auto blocks, qmp::ram_block_lines(qmp));
    for (const qmp::RamBlockLine& block : blocks)
        facts.blocks.push_back(
            {printable(block.name), block.used_length, block.max_length, block.page_size, {}});
    GC_CHECK(ask_devices(qmp, facts));
    const auto boot = read_whole_file("/proc/sys/kernel/random/boot_id");
    facts.host = boot ? boot->substr(0, boot->find('\n')) : "";
    const std::optional<pid_t> process = process_of(qmp);
    if (process)
        ask_files(qmp, facts);
    facts.memory_slots = memory_slots(qmp);
    GC_CHECK(ask_settings(qmp, facts));
    GC_TRY(facts.disks, ask_disks(qmp, process));
    return facts;
}

}  // namespace gc::preflight
