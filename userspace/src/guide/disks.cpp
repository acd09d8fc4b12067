// SPDX-License-Identifier: GPL-2.0-or-later
// Disks: a writable disk becomes a temporary overlay (snapshot=on: QEMU creates it in $TMPDIR and
// unlinks it at once); the images below it are opened read-only and without a lock. A read-only
// image needs no overlay. -blockdev graphs are folded into one -drive per root, because only -drive
// has snapshot=on; the drive's id is the node's name, by which devices refer to it.
#include "guide/derivation.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace gc::guide {

using nlohmann::json;

namespace {

constexpr std::array<std::string_view, 12> image_formats = {"raw",  "qcow2",     "qcow", "qed",
                                                            "vmdk", "vdi",       "vpc",  "vhdx",
                                                            "luks", "parallels", "dmg",  "bochs"};

bool is_format(std::string_view driver) {
    return std::find(image_formats.begin(), image_formats.end(), driver) != image_formats.end();
}

bool is_local_file(std::string_view driver) {
    return driver == "file" || driver == "host_device";
}

bool has_no_storage(std::string_view driver) {
    return driver == "null-co" || driver == "null-aio";
}

/// Errors: unsupported (a driver that a guide must not open).
Result<void> check_driver(std::string_view driver) {
    if (is_format(driver) || is_local_file(driver) || has_no_storage(driver) ||
        driver == "throttle" || driver == "copy-on-read")
        return {};
    if (driver == "host_cdrom")
        return refuse("a disk with driver host_cdrom", "the guide could open the host's tray");
    if (driver == "nvme")
        return refuse("a disk with driver nvme", "it takes over the host's device (VFIO)");
    if (driver == "vvfat")
        return refuse("a disk with driver vvfat", "it exports a host directory");
    return refuse(fmt::format("a disk with driver {}", driver),
                  "only image files and host block devices can be opened a second time, read-only");
}

/// The protocol of "nbd:...", "rbd:...", "json:..." and so on; a path with a colon after a slash
/// has none (path_has_protocol() in block.c).
std::string protocol_of(std::string_view filename) {
    const auto end = filename.find_first_of(":/");
    if (end == std::string_view::npos || filename[end] != ':')
        return "";
    return std::string(filename.substr(0, end));
}

Result<void> check_filename(std::string_view filename) {
    if (filename.starts_with("/dev/cdrom") || filename.starts_with("/dev/sr"))
        return check_driver("host_cdrom");
    if (filename.starts_with("/dev/fdset/"))
        return refuse(fmt::format("disk {}", filename), "its descriptor belongs to the source");
    const std::string protocol = protocol_of(filename);
    if (protocol == "fat")
        return check_driver("vvfat");
    if (!protocol.empty() && protocol != "file" && protocol != "host_device")
        return check_driver(protocol);
    return {};
}

/// For these a guide gets an empty disk of the same size: the storage is on the network, where a
/// second client can cost the source its connection or its lease, or in a drive with a tray. What
/// the guide reads there is wrong, which costs hints and no more.
constexpr std::array<std::string_view, 12> replaced_drivers = {
    "rbd",  "nbd", "iscsi", "nfs",     "http",       "https",
    "ftps", "ftp", "ssh",   "gluster", "host_cdrom", "sheepdog"};

bool is_replaced(std::string_view driver) {
    // "nbd+unix", "gluster+tcp"
    return std::ranges::find(replaced_drivers, driver.substr(0, driver.find('+'))) !=
           replaced_drivers.end();
}

bool file_is_replaced(std::string_view filename) {
    return filename.starts_with("/dev/cdrom") || filename.starts_with("/dev/sr") ||
           filename.starts_with("/dev/fdset/") || is_replaced(protocol_of(filename));
}

constexpr unsigned max_graph_nodes = 4096;

/// Whether anything in a block graph is replaced. @param budget nodes that may still be visited
bool graph_is_replaced(const Derivation& derivation, const json& node, unsigned& budget) {
    if (!node.is_object() || budget == 0)
        return false;
    --budget;
    const auto text = [&](const char* key) {
        const auto found = node.find(key);
        return found != node.end() && found->is_string() ? found->get<std::string>()
                                                         : std::string();
    };
    if (is_replaced(text("driver")) || file_is_replaced(text("filename")))
        return true;
    for (const char* key : {"file", "backing", "data-file"}) {
        const auto child = node.find(key);
        if (child == node.end())
            continue;
        const auto named = derivation.block_nodes.find(text(key));
        if (graph_is_replaced(derivation,
                              child->is_string() && named != derivation.block_nodes.end()
                                  ? named->second
                                  : *child,
                              budget))
            return true;
    }
    return false;
}

/// Makes a node and all nodes below it read-only and lock-free.
/// @param depth limits the recursion, in case the references form a cycle
Result<json> harmless_node(Derivation& derivation, json node, int depth) {
    if (++derivation.graph_nodes > max_graph_nodes)
        return refuse(fmt::format("a block graph of more than {} nodes", max_graph_nodes),
                      "it takes too much memory");
    if (depth > 64)
        return fail(ErrorKind::usage,
                    "-blockdev: the nodes' references form a cycle or are more than 64 deep");
    if (!node.is_object() || !node.contains("driver") || !node["driver"].is_string())
        return fail(ErrorKind::unsupported, "-blockdev: node without a driver: {:.120}",
                    node.dump());
    const auto driver = node["driver"].get<std::string>();
    GC_CHECK(check_driver(driver));
    for (const char* key :
         {"node-name", "read-only", "auto-read-only", "force-share", "pr-manager"})
        node.erase(key);
    if (is_local_file(driver)) {
        if (node.contains("filename") && node["filename"].is_string())
            GC_CHECK(check_filename(node["filename"].get_ref<const std::string&>()));
        node["locking"] = "off";
    }
    for (const char* key : {"file", "backing", "data-file"}) {
        auto child = node.find(key);
        if (child == node.end() || child->is_null())
            continue;
        if (child->is_string()) {
            const auto name = child->get<std::string>();
            const auto found = derivation.block_nodes.find(name);
            if (found == derivation.block_nodes.end())
                return fail(ErrorKind::unsupported, "-blockdev: unknown node '{}'", name);
            *child = found->second;
        }
        GC_TRY(*child, harmless_node(derivation, std::move(*child), depth + 1));
    }
    // Filters act on the requests that pass through them; a read-only image below an overlay must
    // not.
    if ((driver == "copy-on-read" || driver == "throttle") && node.contains("file"))
        return node["file"];
    return node;
}

bool json_flag(const json& node, const char* key) {
    const auto it = node.find(key);
    return it != node.end() && (it->is_boolean() ? it->get<bool>() : *it == "on");
}

void emit_drive(Derivation& derivation, OptionList drive, bool read_only) {
    drive.remove("readonly");
    drive.remove("read-only");
    drive.remove("copy-on-read");
    if (read_only) {
        drive.set("readonly", "on");
    } else {
        drive.set("snapshot", "on");
        derivation.guide.needs_scratch = true;
    }
    derivation.emit("drive", drive.print());
}

/// An empty disk of the size that the source's has. @param drive what the guest sees of it
Result<void> emit_empty_disk(Derivation& derivation, OptionList drive, const std::string& name,
                             bool read_only) {
    const auto size = derivation.substitutes.disk_sizes.find(name);
    if (name.empty() || size == derivation.substitutes.disk_sizes.end())
        return refuse(
            fmt::format("the disk '{}' on the network, in a tray or behind a descriptor", name),
            "its size is not known, so it cannot be replaced by an empty one");
    drive.set("format", "raw");
    drive.set("file.driver", "null-co");
    drive.set("file.size", std::to_string(size->second));
    drive.set("file.read-zeroes", "on");
    derivation.note(
        fmt::format("the disk '{}' is empty in the guide: a guide does not open it", name));
    emit_drive(derivation, std::move(drive), read_only);
    return {};
}

/// file=json:{...}: a block graph in a file name.
Result<void> translate_json_filename(Derivation& derivation, OptionList drive,
                                     const std::string& filename, bool read_only) {
    GC_TRY(json node, parse_nested(std::string_view(filename).substr(5)));
    if (node.contains("file.filename") || node.contains("file.driver"))
        return fail(ErrorKind::unsupported, "-drive file={:.120}: dotted keys in JSON", filename);
    GC_TRY(node, harmless_node(derivation, std::move(node), 0));
    drive.set("file", "json:" + node.dump());
    emit_drive(derivation, std::move(drive), read_only);
    return {};
}

/// Adds locking=off for the image and for each of its backing files.
void unlock_images(const Derivation& derivation, OptionList& drive, const std::string& filename,
                   bool protocol_on_top) {
    drive.set(protocol_on_top ? "locking" : "file.locking", "off");
    const auto depth = derivation.substitutes.backing_files.find(filename);
    if (depth == derivation.substitutes.backing_files.end())
        return;
    std::string prefix;
    for (unsigned layer = 0; layer < depth->second; ++layer) {
        prefix += "backing.";
        drive.set(prefix + "file.locking", "off");
    }
}

bool drive_is_replaced(const Derivation& derivation, const OptionList& drive,
                       const std::string& driver, const std::string& filename) {
    if (is_replaced(driver))
        return true;
    for (const auto& [key, value] : drive.entries())
        if (key.ends_with(".driver") && is_replaced(value))
            return true;
    if (!filename.starts_with("json:"))
        return file_is_replaced(filename);
    const auto node = parse_nested(std::string_view(filename).substr(5));
    unsigned budget = max_graph_nodes;
    return node && graph_is_replaced(derivation, *node, budget);
}

Result<void> add_drive(Derivation& derivation, OptionList drive) {
    const bool cdrom = drive.get("media") == "cdrom";
    const bool read_only = cdrom || drive.is_on("readonly") || drive.is_on("read-only");
    std::string driver = drive.get("driver");
    if (driver.empty())
        driver = drive.get("format");
    const bool protocol_on_top = is_local_file(driver);
    std::string filename;
    for (const char* key : {"file", "filename", "file.filename"})
        if (filename.empty())
            filename = drive.get(key);

    if (drive_is_replaced(derivation, drive, driver, filename)) {
        OptionList seen;
        for (const char* key : {"if", "id", "index", "media", "bus", "unit"})
            if (drive.has(key))
                seen.set(key, drive.get(key));
        return emit_empty_disk(derivation, std::move(seen), drive.get("id"), read_only);
    }
    if (!driver.empty())
        GC_CHECK(check_driver(driver));
    for (const auto& [key, value] : drive.entries())
        if (key.ends_with(".driver"))
            GC_CHECK(check_driver(value));
    if (filename.starts_with("json:"))
        return translate_json_filename(derivation, std::move(drive), filename, read_only);
    if (filename.empty() || has_no_storage(driver) || has_no_storage(protocol_of(filename)) ||
        has_no_storage(drive.get("file.driver"))) {
        derivation.emit("drive", drive.print());  // an empty CD-ROM drive, or no storage
        return {};
    }
    GC_CHECK(check_filename(filename));
    unlock_images(derivation, drive, filename, protocol_on_top);
    emit_drive(derivation, std::move(drive), read_only);
    return {};
}

}  // namespace

Result<void> translate_drive(Derivation& derivation, const SourceOption& option) {
    GC_TRY(auto drive, OptionList::parse(option.value));
    return add_drive(derivation, std::move(drive));
}

Result<void> translate_blockdev(Derivation& derivation, const SourceOption& option) {
    GC_TRY(const json source, parse_nested(option.value, "driver"));
    const auto name = source["node-name"].get<std::string>();
    const bool used_by_device =
        std::any_of(derivation.devices.begin(), derivation.devices.end(),
                    [&](const OptionList& device) { return device.get("drive") == name; });
    if (derivation.child_nodes.contains(name) && !used_by_device)
        return {};  // part of another drive
    OptionList drive;
    drive.set("if", "none");
    drive.set("id", name);
    if (unsigned budget = max_graph_nodes; graph_is_replaced(derivation, source, budget))
        return emit_empty_disk(derivation, std::move(drive), name, json_flag(source, "read-only"));
    GC_TRY(const json node, harmless_node(derivation, source, 0));
    drive.set("file", "json:" + node.dump());
    emit_drive(derivation, std::move(drive), json_flag(source, "read-only"));
    return {};
}

Result<void> translate_disk_shorthand(Derivation& derivation, const SourceOption& option) {
    // The options that qemu_init() (softmmu/vl.c) derives: HD_OPTS, CDROM_OPTS, FD_OPTS and so on.
    struct Shorthand {
        std::string_view option, interface, index, media;
    };
    constexpr std::array<Shorthand, 11> shorthands = {{{"", "", "0", "disk"},
                                                       {"hda", "", "0", "disk"},
                                                       {"hdb", "", "1", "disk"},
                                                       {"hdc", "", "2", "disk"},
                                                       {"hdd", "", "3", "disk"},
                                                       {"cdrom", "", "2", "cdrom"},
                                                       {"fda", "floppy", "0", ""},
                                                       {"fdb", "floppy", "1", ""},
                                                       {"pflash", "pflash", "", ""},
                                                       {"sd", "sd", "", ""},
                                                       {"mtdblock", "mtd", "", ""}}};
    const auto shorthand =
        std::find_if(shorthands.begin(), shorthands.end(),
                     [&](const Shorthand& candidate) { return candidate.option == option.name; });
    OptionList drive;
    for (const auto& [key, value] :
         {std::pair("if", shorthand->interface), std::pair("index", shorthand->index),
          std::pair("media", shorthand->media)})
        if (!value.empty())
            drive.set(key, value);
    drive.set("file", option.value);
    return add_drive(derivation, std::move(drive));
}

std::vector<OptionRow> disk_rows() {
    const auto list = [](const auto& names) {
        std::string text;
        for (const std::string_view name : names)
            text += fmt::format("{}{}", text.empty() ? "" : ", ", name);
        return text;
    };
    return {
        {list(image_formats), "the format is kept, over what is below it"},
        {"file, host_device",
         "opened read-only and without a lock, with a temporary overlay if the guest may write"},
        {"null-co, null-aio", "kept"},
        {"throttle, copy-on-read", "left out: what is below it counts"},
        {list(replaced_drivers), "an empty disk of the same size; refused if that is not known"},
        {"`/dev/fdset/N`, `/dev/sr*`, `/dev/cdrom*`", "likewise"},
        {"nvme", "refused: it takes over the host's device (VFIO)"},
        {"vvfat", "refused: it exports a host directory"},
        {"any other", "refused"},
    };
}

}  // namespace gc::guide
