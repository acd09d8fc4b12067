// SPDX-License-Identifier: GPL-2.0-or-later
#include "preflight/compare.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <set>
#include <sstream>

namespace gc::preflight {
namespace {

using Block = peer::VmFacts::Block;
using Devices = peer::VmFacts::Devices;

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
        cpus();
        blocks();
        devices();
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
        else if (!source_.cpu_features.empty() && !destination_.cpu_features.empty() &&
                 source_.cpu_features != destination_.cpu_features)
            tolerated(fmt::format("CPU features (CPUID bits) differ: {} at the source, {} at the "
                                  "destination",
                                  only_in(source_.cpu_features, destination_.cpu_features),
                                  only_in(destination_.cpu_features, source_.cpu_features)),
                      "QEMU does not check them: the guest may crash when it uses what it no "
                      "longer has");
    }

    /// The words of `text` that `other` does not have, or "nothing more".
    static std::string only_in(const std::string& text, const std::string& other) {
        const auto words = [](const std::string& of) {
            std::istringstream in(of);
            return std::set<std::string>(std::istream_iterator<std::string>(in), {});
        };
        const std::set<std::string> all = words(text), known = words(other);
        std::string only;
        for (const std::string& word : all)
            if (!known.contains(word))
                only += (only.empty() ? "" : " ") + word;
        return only.empty() ? "nothing more" : only;
    }

    static const Block* find(const std::vector<Block>& blocks, const std::string& name) {
        const auto found = std::ranges::find(blocks, name, &Block::name);
        return found == blocks.end() ? nullptr : &*found;
    }

    void blocks() {
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

    const peer::VmFacts& source_;
    const peer::VmFacts& destination_;
    std::vector<Difference> found_;
};

}  // namespace

std::vector<Difference> compare(const peer::VmFacts& source, const peer::VmFacts& destination) {
    return Comparison(source, destination).all();
}

}  // namespace gc::preflight
