// SPDX-License-Identifier: GPL-2.0-or-later
#include "preflight/compare.h"

#include "preflight/cpu_features.h"
#include "qmp/migration.h"

#include <algorithm>
#include <array>
#include <optional>

namespace gc::preflight {
namespace {

using Block = peer::VmFacts::Block;
using Devices = peer::VmFacts::Devices;
using Disk = peer::VmFacts::Disk;

constexpr std::string_view refuses = "the destination QEMU would refuse the VM's state";

/// Devices without any state in QEMU's stream (no vmsd in their sources, 7.2): nobody misses them.
constexpr std::array<std::string_view, 4> stateless{"isa-debug-exit", "isa-debugcon", "pvpanic",
                                                    "kvmvapic"};

class Comparison {
  public:
    Comparison(const peer::VmFacts& source, const peer::VmFacts& destination)
        : source_(source), destination_(destination) {}

    std::vector<Difference> all() {
        machine();
        versions();
        settings();
        cpus();
        blocks();
        devices();
        disks();
        memory();
        std::stable_partition(found_.begin(), found_.end(),
                              [](const Difference& each) { return each.fatal; });
        return std::move(found_);
    }

  private:
    void fatal(std::string what, std::string_view consequence) {
        found_.push_back({true, std::move(what), std::string(consequence)});
    }
    void tolerated(std::string what, std::string_view consequence) {
        found_.push_back({false, std::move(what), std::string(consequence)});
    }
    static std::string both(std::string_view what, const auto& source, const auto& destination) {
        return fmt::format("{}: {} at the source, {} at the destination", what, source,
                           destination);
    }

    void machine() {
        if (source_.machine != destination_.machine)
            fatal(both("machine type", source_.machine, destination_.machine),
                  "the destination QEMU would refuse it; start it with the source's -machine");
    }

    void versions() {
        if (source_.qemu != destination_.qemu)
            tolerated(both("QEMU version", source_.qemu, destination_.qemu),
                      "QEMU supports this for versioned machine types, best towards a newer one");
    }

    void cpus() {
        if (source_.cpus > destination_.cpus)
            fatal(both("vCPUs", source_.cpus, destination_.cpus), refuses);
        if (source_.cpus < destination_.cpus)
            tolerated(both("vCPUs", source_.cpus, destination_.cpus),
                      "the guest does not know of those that it has more");
        if (source_.cpu_model != destination_.cpu_model)
            tolerated(both("CPU model", source_.cpu_model, destination_.cpu_model),
                      "QEMU does not check it: the guest may crash when it uses what it no longer "
                      "has");
        const std::string lost =
            destination_.cpu_features.empty()
                ? ""
                : features_missing(source_.cpu_features, destination_.cpu_features);
        if (!lost.empty())
            tolerated(fmt::format("CPU features that the destination lacks: {}", lost),
                      "QEMU does not check them: the guest may crash when it uses one");
        const std::string more =
            source_.cpu_features.empty()
                ? ""
                : features_missing(destination_.cpu_features, source_.cpu_features);
        if (!more.empty() && source_.cpu_model == destination_.cpu_model)
            tolerated(fmt::format("CPU features that the source lacks: {}", more),
                      "the guest does not look for them again");
    }

    void settings() {
        for (const std::string& capability : destination_.capabilities)
            if (qmp::changes_reading(capability))
                fatal(fmt::format("the destination QEMU has the migration capability {} on",
                                  capability),
                      fmt::format("it would not understand the stream; turn it off there: "
                                  "migrate_set_capability {} off",
                                  capability));
        if (!destination_.tls_creds.empty())
            fatal("the destination QEMU has the migration parameter tls-creds set",
                  "it would expect TLS from its own gcctl; set it to the empty string there");
        if (!destination_.mode.empty() && destination_.mode != "normal")
            fatal(fmt::format("the destination QEMU has the migration parameter mode {}",
                              destination_.mode),
                  "it would not take a VM of another host; set it to normal there");
    }

    static const Block* find(const std::vector<Block>& blocks, const std::string& name) {
        const auto found = std::ranges::find(blocks, name, &Block::name);
        return found == blocks.end() ? nullptr : &*found;
    }

    void blocks() {
        if (source_.memory_slots && destination_.memory_slots &&
            *source_.memory_slots != *destination_.memory_slots)
            fatal(both("slots for memory modules (-m slots=)", *source_.memory_slots,
                       *destination_.memory_slots),
                  refuses);
        for (const Block& block : source_.blocks) {
            if (block.name.empty())
                continue;  // QEMU does not migrate it
            const Block* other = find(destination_.blocks, block.name);
            if (other == nullptr)
                fatal(fmt::format("RAM block {} is missing at the destination", quoted(block)),
                      refuses);
            else
                compare_blocks(block, *other);
        }
        for (const Block& block : destination_.blocks)
            if (!block.name.empty() && find(source_.blocks, block.name) == nullptr)
                tolerated(fmt::format("RAM block {} is at the destination only", quoted(block)),
                          "its content stays as it is there");
    }

    void compare_blocks(const Block& block, const Block& other) {
        const std::string name = fmt::format("RAM block {}", quoted(block));
        if (block.page_size != other.page_size)
            fatal(both(name + ", page size", block.page_size, other.page_size),
                  "post-copy needs pages of the same size at both ends");
        // Only what the firmware reads, such as ACPI tables, can be resized.
        const bool resizable = block.name.starts_with("/rom@");
        if (block.length != other.length && !(resizable && block.length <= other.max_length))
            fatal(both(name + ", bytes", block.length, other.length), refuses);
        if (!block.file.empty() && block.file == other.file && !source_.host.empty() &&
            source_.host == destination_.host)
            fatal(fmt::format("{}: both QEMUs share one file as its memory", name),
                  "the destination would write to the source's memory: the VM would be lost");
    }

    static std::string quoted(const Block& block) { return fmt::format("'{}'", block.name); }

    void devices() {
        compare_devices(source_.devices, destination_.devices);
        // Another version may build the same machine of other parts, with the same state.
        if (source_.qemu == destination_.qemu)
            compare_devices(source_.board, destination_.board);
    }

    void compare_devices(const Devices& ours, const Devices& theirs) {
        Devices all = theirs;
        all.insert(ours.begin(), ours.end());
        const auto count_in = [](const Devices& devices, const std::string& type) {
            const auto found = devices.find(type);
            return found == devices.end() ? 0 : found->second;
        };
        for (const auto& [type, any] : all) {
            const std::uint64_t here = count_in(ours, type), there = count_in(theirs, type);
            const std::string what = both(fmt::format("devices of type {}", type), here, there);
            if (here < there)
                tolerated(what, "the guest does not know of what it has more");
            else if (here > there && std::ranges::find(stateless, type) != stateless.end())
                tolerated(what, "the guest loses it");
            else if (here > there)
                fatal(what, refuses);
        }
    }

    void disks() {
        if (!source_.disks || !destination_.disks)
            return;  // an older gcctl
        std::vector<const Disk*> theirs;
        for (const Disk& disk : *destination_.disks)
            theirs.push_back(&disk);
        std::vector<const Disk*> left;
        const auto take = [&](const Disk& disk, auto found) {
            compare_disks(disk, **found);
            theirs.erase(found);
        };
        for (const Disk& disk : *source_.disks) {
            const auto found = std::ranges::find(theirs, disk.name, &Disk::name);
            if (found != theirs.end())
                take(disk, found);
            else
                left.push_back(&disk);
        }
        // Their names are the host's business: the guest's devices count.
        for (const Disk* disk : left)
            if (!theirs.empty())
                take(*disk, theirs.begin());
            else
                missing(*disk);
    }

    void missing(const Disk& disk) {
        const std::string what = fmt::format("disk '{}': {} at the source, no image at the "
                                             "destination",
                                             disk.name, disk.image);
        if (disk.read_only)
            tolerated(what, "the guest finds its drive empty");
        else
            fatal(what, "the guest would lose it");
    }

    [[nodiscard]] bool one_host() const {
        return !source_.host.empty() && source_.host == destination_.host;
    }

    void compare_disks(const Disk& disk, const Disk& other) {
        const std::string name = fmt::format("disk '{}'", disk.name);
        if (disk.size > other.size)
            fatal(both(name + ", bytes", disk.size, other.size),
                  "the guest would use space that is not there");
        if (disk.size < other.size)
            tolerated(both(name + ", bytes", disk.size, other.size),
                      "the guest does not know of the rest");
        if (!disk.read_only && other.read_only)
            fatal(name + ": writable at the source, read-only at the destination",
                  "the guest's writes would fail");
        if (const auto why = differs(disk, other)) {
            const std::string what = fmt::format("{}: {} ({} at the source, {} at the destination)",
                                                 name, *why, disk.image, other.image);
            if (disk.read_only)
                tolerated(what, "it must have the same content");
            else
                fatal(what, "unless it has the same content the guest's data would be damaged; use "
                            "storage that both hosts share");
            return;
        }
        const std::uint64_t of_qemus = other.own_locks + (one_host() ? disk.own_locks : 0);
        if (!disk.read_only && other.locks > of_qemus)
            fatal(fmt::format("{}: another process on the destination's host has locked {}", name,
                              other.image),
                  "the destination QEMU could not use it, and the VM would stand still there");
    }

    /// Why it is not one image for both; nullopt if it is, or if that is not known.
    [[nodiscard]] std::optional<std::string_view> differs(const Disk& disk,
                                                          const Disk& other) const {
        if (one_host() && !disk.file.empty() && !other.file.empty())
            return disk.file == other.file ? std::nullopt : std::optional("it is another file");
        if (one_host() && disk.file.empty() != other.file.empty() && disk.image != other.image)
            return "it is another image";
        if (one_host())
            return std::nullopt;
        if (disk.storage == "local" || other.storage == "local")
            return "it is a local file of one host";
        if (disk.storage == "shared" && other.storage == "shared" && disk.inode != other.inode)
            return "it is another file";
        return std::nullopt;
    }

    void memory() {
        if (destination_.memory.empty())
            return;
        if (destination_.overcommit)
            tolerated(destination_.memory, "the kernel may kill the destination QEMU, and the VM "
                                           "with it");
        else
            fatal(destination_.memory, "the kernel would kill the destination QEMU, and the VM "
                                       "with it");
    }

    const peer::VmFacts& source_;
    const peer::VmFacts& destination_;
    std::vector<Difference> found_;
};

}  // namespace

std::vector<Difference> compare(const peer::VmFacts& source, const peer::VmFacts& destination) {
    return Comparison(source, destination).all();
}

}  // namespace gc::preflight
