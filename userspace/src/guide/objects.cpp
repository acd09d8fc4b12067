// SPDX-License-Identifier: GPL-2.0-or-later
// Objects, devices and character devices.
#include "guide/derivation.h"

#include <algorithm>
#include <array>

namespace gc::guide {

namespace {

struct Refusal {
    std::string_view pattern;  ///< a name, or a prefix followed by '*'
    std::string_view why;
};

bool matches(std::string_view name, std::string_view pattern) {
    if (pattern.ends_with('*'))
        return name.starts_with(pattern.substr(0, pattern.size() - 1));
    return name == pattern;
}

constexpr std::string_view host_device = "it uses a device of the host";
constexpr std::string_view other_process = "another process holds its state";

// Devices reach the host through their back end, which is replaced, except for these. usb-redir is
// not among them: with a null character device it loads as if its connection had been cut
// (usbredir_get_parser in hw/usb/redirect.c), and most VMs that have one never use it.
constexpr std::array<Refusal, 25> refused_devices = {{
    {"vfio-*", host_device},
    {"iommufd*", host_device},
    {"vhost-user-*", other_process},
    {"vhost-vdpa-*", host_device},
    {"vhost-scsi*", "it writes to the host's SCSI target"},
    {"virtio-9p-*", "it writes to a host directory"},
    {"virtio-mem*", "it discards memory, which a guide must not do"},
    {"ivshmem*", "it shares memory with other processes"},
    {"usb-host", host_device},
    {"usb-mtp", "it writes to a host directory"},
    {"u2f-*", host_device},
    {"ccid-card-*", host_device},
    {"scsi-generic", "SCSI commands would reach the host's device"},
    {"xen-*", "Xen is not supported"},
    {"ipmi-bmc-extern", other_process},
    {"x-pci-proxy-dev", other_process},
    {"virtio-vga-gl", "it draws with the host's GPU"},
    {"virtio-gpu-gl*", "it draws with the host's GPU"},
    {"virtio-vga-rutabaga*", "it draws with the host's GPU"},
    {"virtio-gpu-rutabaga*", "it draws with the host's GPU"},
    {"virtio-input-host*", "it takes an input device of the host"},
    {"hv-syndbg", "it sends to the network by itself"},
    {"pvrdma", host_device},
    {"uefi-vars-*", "it writes its variables to a file"},
    {"vhost-*", other_process},
}};

/// A guide does without these. What they have to say in the state is left out of what it loads, and
/// another device without effect has their place, so that the others keep theirs.
struct Absence {
    std::string_view pattern;
    std::string_view placeholder;  ///< empty: they have no place on a bus that others share
    std::array<std::string_view, 3> names;  ///< as in GuideCommandLine::absent; may be empty
    std::string_view why;
};
constexpr std::array<Absence, 4> absent_devices = {{
    {"tpm-crb*", "", {"tpm-crb", "tpm-crb-cmd", "tpm-ppi"}, "a TPM's state lives outside QEMU"},
    {"tpm-*", "", {"tpm-tis", "tpm-ppi", ""}, "a TPM's state lives outside QEMU"},
    {"vhost-vsock-pci*",
     "virtio-rng-pci",
     {"virtio-vhost_vsock", "", ""},
     "two VMs cannot share a guest CID"},
    {"vhost-vsock-device",
     "virtio-rng-device",
     {"virtio-vhost_vsock", "", ""},
     "two VMs cannot share a guest CID"},
}};

constexpr std::array<std::string_view, 10> host_properties = {
    "sysfsdev", "vhostfd", "vhostfds", "wwpn",  "hostdevice",
    "fsdev",    "tpmdev",  "evdev",    "ibdev", "jsonfile"};

constexpr std::array<Refusal, 4> refused_objects = {{
    {"sev-*", "its memory cannot be read"},
    {"tdx-*", "its memory cannot be read"},
    {"cryptodev-vhost-user", other_process},
    {"cryptodev-backend-lkcf", "it uses keys in the host's kernel"},
}};

enum class Keep { as_is, drop, drop_with_state, as_rng_builtin };
struct ObjectRule {
    std::string_view pattern;
    Keep keep;
};
constexpr std::array<ObjectRule, 19> kept_objects = {{
    {"iothread", Keep::as_is},
    {"main-loop", Keep::as_is},
    {"throttle-group", Keep::as_is},
    {"secret", Keep::as_is},
    {"cryptodev-backend-builtin", Keep::as_is},
    {"can-bus", Keep::as_is},
    // The guide must not consume the host's entropy; the device does not notice the difference.
    {"rng-*", Keep::as_rng_builtin},
    // Their users (monitors, displays, character devices, host memory) are replaced.
    {"tls-creds-*", Keep::drop},
    {"tls-cipher-suites", Keep::drop},
    {"authz-*", Keep::drop},
    {"secret_keyring", Keep::drop},
    {"thread-context", Keep::drop},
    {"filter-dump", Keep::drop},
    {"filter-mirror", Keep::drop},
    {"input-linux", Keep::drop},
    {"input-barrier", Keep::drop},
    {"can-host-*", Keep::drop},
    {"pr-manager-helper", Keep::drop},
    {"dbus-vmstate", Keep::drop_with_state},  // the state of other processes
}};

constexpr std::array<std::string_view, 4> memory_objects = {
    "memory-backend-ram", "memory-backend-memfd", "memory-backend-file", "memory-backend-shm"};

OptionList node_backend(const MemoryNode& node, const std::string& id, const std::string& size) {
    OptionList backend;
    backend.set("qom-type", node.path.empty() ? "memory-backend-ram" : "memory-backend-file");
    backend.set("id", id);
    backend.set("size", size);
    if (node.path.empty())
        return backend;
    backend.set("mem-path", node.path);
    backend.set("share", node.share ? "on" : "off");
    return backend;
}

Result<void> translate_memory(Derivation& derivation, const OptionList& source) {
    const std::string id = source.get("id");
    const auto node = derivation.substitutes.memory.find(id);
    if (node == derivation.substitutes.memory.end())
        return fail(ErrorKind::usage, "no memory node was given for the memory backend '{}'", id);
    derivation.used_memory.insert(id);
    OptionList backend = node_backend(node->second, id, source.get("size"));
    // This option determines the RAM block's name, which the stream uses.
    constexpr std::string_view path_name = "x-use-canonical-path-for-ramblock-id";
    if (source.has(path_name))
        backend.set(path_name, source.get(path_name));
    derivation.emit("object", backend.print("qom-type"));
    return {};
}

}  // namespace

bool reaches_host(std::string_view property) {
    return std::find(host_properties.begin(), host_properties.end(), property) !=
           host_properties.end();
}

Result<void> translate_object(Derivation& derivation, const SourceOption& option) {
    GC_TRY(auto object, OptionList::parse(option.value, "qom-type"));
    const std::string type = object.get("qom-type");
    if (std::find(memory_objects.begin(), memory_objects.end(), type) != memory_objects.end())
        return translate_memory(derivation, object);
    for (const Refusal& refusal : refused_objects)
        if (matches(type, refusal.pattern))
            return refuse("-object " + type, refusal.why);
    const auto rule =
        std::find_if(kept_objects.begin(), kept_objects.end(),
                     [&](const ObjectRule& candidate) { return matches(type, candidate.pattern); });
    if (rule == kept_objects.end())
        return refuse(fmt::format("-object {}", type),
                      "guidecopy does not know this type of object");
    switch (rule->keep) {
    case Keep::drop_with_state:
        derivation.guide.absent.push_back(type);
        return {};
    case Keep::drop:
        return {};
    case Keep::as_rng_builtin:
        derivation.emit("object", "rng-builtin,id=" + escape_commas(object.get("id")));
        return {};
    case Keep::as_is:
        derivation.emit("object", option.value);
        return {};
    }
    return {};
}

namespace {

void leave_out(Derivation& derivation, const OptionList& device, const Absence& absence) {
    std::vector<std::string>& absent = derivation.guide.absent;
    for (const std::string_view name : absence.names)
        if (!name.empty())
            absent.emplace_back(name);
    if (device.get("driver").starts_with("tpm-"))
        absent.emplace_back("tpm-emulator");  // of its -tpmdev
    derivation.note(fmt::format("the guide has no {}: {}", device.get("driver"), absence.why));
    if (absence.placeholder.empty())
        return;
    OptionList placeholder;
    placeholder.set("driver", absence.placeholder);
    for (const char* key : {"id", "bus", "addr", "multifunction"})
        if (device.has(key))
            placeholder.set(key, device.get(key));
    derivation.emit("device", placeholder.print("driver"));
}

}  // namespace

Result<void> translate_device(Derivation& derivation, const SourceOption& option) {
    GC_TRY(auto device, OptionList::parse(option.value, "driver"));
    const std::string driver = device.get("driver");
    if (derivation.substitutes.unplugged.contains(device.get("id"))) {
        derivation.note(fmt::format("the device '{}' was plugged out", device.get("id")));
        return {};
    }
    for (const Absence& absence : absent_devices)
        if (matches(driver, absence.pattern)) {
            leave_out(derivation, device, absence);
            return {};
        }
    for (const Refusal& refusal : refused_devices)
        if (matches(driver, refusal.pattern))
            return refuse("-device " + driver, refusal.why);
    for (const auto& [property, value] : device.entries()) {
        if (reaches_host(property))
            return refuse(fmt::format("-device {},{}=...", driver, property), host_device);
        if (value == own_monitor)  // JSON may spell it with escapes
            return refuse(fmt::format("-device {},{}=...", driver, property),
                          "it names gcctl's own monitor");
    }
    // They have the same state. Its commands go to the overlay, not to the host's device.
    if (driver == "scsi-block") {
        device.set("driver", "scsi-hd");
        derivation.emit("device", device.print("driver"));
        return {};
    }
    if (driver.starts_with("virtio-balloon"))
        derivation.note("the balloon device stays, but the guide's memory cannot be discarded");
    derivation.emit("device", option.value);
    return {};
}

Result<void> translate_chardev(Derivation& derivation, const SourceOption& option) {
    GC_TRY(const auto source, OptionList::parse(option.value, "backend"));
    OptionList chardev;
    chardev.set("backend", "null");
    chardev.set("id", source.get("id"));
    // Several front ends may share a character device with mux=on.
    if (source.is_on("mux"))
        chardev.set("mux", "on");
    derivation.emit("chardev", chardev.print("backend"));
    return {};
}

Result<void> translate_audiodev(Derivation& derivation, const SourceOption& option) {
    GC_TRY(const auto source, OptionList::parse(option.value, "driver"));
    derivation.emit("audiodev", "none,id=" + escape_commas(source.get("id")));
    return {};
}

Result<void> translate_audio(Derivation& derivation, const SourceOption& option) {
    GC_TRY(const auto source, OptionList::parse(option.value, "driver"));
    OptionList audio;
    audio.set("driver", "none");
    for (const char* key : {"id", "model"})
        if (source.has(key))
            audio.set(key, source.get(key));
    derivation.emit("audio", audio.print("driver"));
    return {};
}

Result<void> translate_usbdevice(Derivation& derivation, const SourceOption& option) {
    constexpr std::array<std::string_view, 4> harmless = {"tablet", "mouse", "keyboard",
                                                          "wacom-tablet"};
    if (std::find(harmless.begin(), harmless.end(), option.value) == harmless.end())
        return refuse("-usbdevice " + option.value, host_device);
    derivation.emit("usbdevice", option.value);
    return {};
}

Result<void> emit_default_memory(Derivation& derivation) {
    for (const auto& [id, node] : derivation.substitutes.memory) {
        if (derivation.used_memory.contains(id))
            continue;
        if (derivation.machine_has_memory_backend)
            return fail(ErrorKind::usage,
                        "a memory node was given for '{}', which is not in the source's command "
                        "line (was it plugged later?)",
                        id);
        derivation.machine_has_memory_backend = true;
        OptionList backend = node_backend(node, id, std::to_string(node.size));
        // The RAM block of the machine's own memory is never named by a path
        // (create_default_memdev() in hw/core/machine.c, 7.2), while old machine types do so for an
        // -object.
        backend.set("x-use-canonical-path-for-ramblock-id", "off");
        derivation.emit("object", backend.print("qom-type"));
        derivation.emit("machine", "memory-backend=" + escape_commas(id));
    }
    if (!derivation.machine_has_memory_backend)
        return fail(ErrorKind::usage, "no memory node was given for the machine's own memory");
    return {};
}

std::vector<OptionRow> device_rows() {
    std::vector<OptionRow> rows;
    rows.reserve(std::size(absent_devices));
    for (const Absence& absence : absent_devices)
        rows.push_back({std::string(absence.pattern),
                        fmt::format("{}, and left out of the state: {}",
                                    absence.placeholder.empty()
                                        ? std::string("left out")
                                        : fmt::format("a `{}` in its place", absence.placeholder),
                                    absence.why)});
    rows.push_back({"scsi-block", "a `scsi-hd`, which has the same state"});
    for (const Refusal& refusal : refused_devices)
        rows.push_back({std::string(refusal.pattern), fmt::format("refused: {}", refusal.why)});
    std::string properties;
    for (const std::string_view property : host_properties)
        properties += fmt::format("{}`{}`", properties.empty() ? "" : ", ", property);
    rows.push_back({"any other", "kept; refused with one of the properties " + properties});
    return rows;
}

namespace {

std::string_view meaning(Keep keep) {
    switch (keep) {
    case Keep::as_is:
        return "kept";
    case Keep::drop:
        return "left out";
    case Keep::drop_with_state:
        return "left out, and left out of the state: another process holds it";
    case Keep::as_rng_builtin:
        break;
    }
    return "`rng-builtin` with the same id";
}

}  // namespace

std::vector<OptionRow> object_rows() {
    std::vector<OptionRow> rows;
    rows.reserve(std::size(memory_objects) + std::size(kept_objects) + std::size(refused_objects));
    for (const std::string_view memory : memory_objects)
        rows.push_back({std::string(memory), "the guide's memory, with the same id and size"});
    for (const ObjectRule& rule : kept_objects)
        rows.push_back({std::string(rule.pattern), std::string(meaning(rule.keep))});
    for (const Refusal& refusal : refused_objects)
        rows.push_back({std::string(refusal.pattern), fmt::format("refused: {}", refusal.why)});
    rows.push_back({"any other", "refused: guidecopy does not know it"});
    return rows;
}

}  // namespace gc::guide
