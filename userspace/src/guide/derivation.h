// SPDX-License-Identifier: GPL-2.0-or-later
// Shared by the parts that derive the guide's command line. Internal to guide/.
#pragma once

#include "guide/command_line.h"
#include "guide/option_list.h"

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gc::guide {

/// The id of the character device of gcctl's monitor. No device of the guest may be attached to it.
constexpr std::string_view own_monitor = "gcqmp";

/// One option of the source: its name as in the table (e.g. "drive"), and its argument.
struct SourceOption {
    std::string name;
    std::string value;
};

/// The state of one derivation. It has two passes: survey() collects the references between
/// options; then each option is translated in its place.
class Derivation {
  public:
    Derivation(const GuideSubstitutes& known, std::string argv0)
        : substitutes(known), next_fd_(known.first_fd) {
        guide.argv.push_back(std::move(argv0));
    }

    Result<void> survey(std::span<const SourceOption> options);

    void emit(std::string_view option) { guide.argv.push_back("-" + std::string(option)); }
    void emit(std::string_view option, std::string value) {
        emit(option);
        guide.argv.push_back(std::move(value));
    }
    void note(std::string text);
    int take_fds(unsigned count);
    /// Whether the guide's tap must speak virtio's packet header.
    [[nodiscard]] bool wants_vnet_hdr(const OptionList& netdev) const;

    const GuideSubstitutes& substitutes;
    GuideCommandLine guide;
    std::vector<OptionList> devices;                    ///< every -device
    std::map<std::string, nlohmann::json> block_nodes;  ///< every -blockdev by node name
    std::set<std::string> child_nodes;                  ///< block nodes that others refer to
    std::set<std::string> used_memory;                  ///< substitutes that -object lines used
    bool machine_has_memory_backend = false;
    /// Nodes of all block graphs so far. Each reference to a node is a copy of what is below it: a
    /// few nodes that refer to each other twice can stand for more than there is memory.
    unsigned graph_nodes = 0;

  private:
    int next_fd_;
};

/// Translates one option. An option for which nothing is emitted is dropped.
using Translate = Result<void> (*)(Derivation&, const SourceOption&);

// disks.cpp
Result<void> translate_drive(Derivation&, const SourceOption&);
Result<void> translate_blockdev(Derivation&, const SourceOption&);
/// -hda, -cdrom, -fda, -pflash, -sd, -mtdblock, and an image file without an option
Result<void> translate_disk_shorthand(Derivation&, const SourceOption&);

// networks.cpp
Result<void> translate_netdev(Derivation&, const SourceOption&);
Result<void> translate_nic(Derivation&, const SourceOption&);
Result<void> translate_net(Derivation&, const SourceOption&);

// objects.cpp
Result<void> translate_object(Derivation&, const SourceOption&);
Result<void> translate_device(Derivation&, const SourceOption&);
Result<void> translate_chardev(Derivation&, const SourceOption&);
Result<void> translate_audiodev(Derivation&, const SourceOption&);
Result<void> translate_audio(Derivation&, const SourceOption&);
Result<void> translate_usbdevice(Derivation&, const SourceOption&);
/// Whether a device's property of this name refers to the host, whatever the device.
bool reaches_host(std::string_view property);
/// Emits the machine's own memory if the source has no -object for it.
Result<void> emit_default_memory(Derivation&);

/// A row of docs/reference/guide-options.md.
struct OptionRow {
    std::string name;
    std::string becomes;
};
std::vector<OptionRow> option_rows();
std::vector<OptionRow> device_rows();
std::vector<OptionRow> object_rows();
std::vector<OptionRow> disk_rows();
std::vector<OptionRow> network_rows();

/// An Error unsupported: "WHAT cannot be made harmless for a guide: WHY".
[[nodiscard]] Unexpected refuse(std::string_view what, std::string_view why);

}  // namespace gc::guide
