// SPDX-License-Identifier: GPL-2.0-or-later
#include "guide/hotplug.h"

#include "guide/option_list.h"
#include "qmp/monitor_text.h"
#include "qmp/reply.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <nlohmann/json.hpp>

namespace gc::guide {
namespace {

using nlohmann::json;
using qmp::text_at;

constexpr std::string_view peripheral = "/machine/peripheral/";
constexpr std::size_t max_plugged = 500;

/// "child<virtio-blk-pci>" -> "virtio-blk-pci"
std::string type_in(const std::string& text, std::string_view prefix) {
    return text.starts_with(prefix) && text.ends_with('>')
               ? text.substr(prefix.size(), text.size() - prefix.size() - 1)
               : std::string();
}

std::string last_part(std::string_view path) {
    return std::string(path.substr(path.rfind('/') + 1));
}

struct Device {
    std::string id, type;
    std::string bus;    ///< its QOM path; empty without one
    std::string needs;  ///< the id of the device whose bus it is on, or empty
};

/// Properties that say nothing of the state, that QEMU computes anew, or that cannot be set (size,
/// of memory modules).
bool is_left_out(std::string_view name) {
    constexpr std::array<std::string_view, 12> names{
        "cyls",           "heads",    "secs",
        "lcyls",          "lheads",   "lsecs",
        "bootindex",      "failover", "failover_pair_id",
        "bios-chs-trans", "size",     "busnr"};
    return std::ranges::find(names, name) != names.end();
}

/// Objects that a device can do without, or that only place its work on threads.
bool can_be_missing(std::string_view link) {
    return link == "iothread" || link == "rng" || link == "rng-backend";
}

class Hotplug {
  public:
    Hotplug(qmp::Client& source, OptionNames names, GuideSubstitutes& substitutes)
        : source_(source), names_(std::move(names)), substitutes_(substitutes) {}

    Result<void> find() {
        GC_TRY(std::vector<Device> plugged, new_devices());
        if (plugged.empty())
            return {};
        GC_TRY(const std::string networks, source_.hmp("info network"));
        backends_ = qmp::parse_backends(networks);
        GC_TRY(drives_, source_.execute("query-block"));
        for (const Device& device : in_order(std::move(plugged)))
            GC_CHECK(describe(device));
        return {};
    }

  private:
    /// Those without an id are not found: their names say nothing.
    Result<std::vector<Device>> new_devices() {
        GC_TRY(const json list, source_.execute("qom-list", {{"path", "/machine/peripheral"}}));
        std::vector<Device> devices;
        std::set<std::string, std::less<>> present;
        for (const json& entry : list) {
            Device device{
                text_at(entry, "name"), type_in(text_at(entry, "type"), "child<"), {}, {}};
            if (device.type.empty())
                continue;
            present.insert(device.id);
            if (names_.devices.contains(device.id))
                continue;
            if (const auto bus = property(device, "parent_bus"); bus && bus->is_string())
                device.bus = bus->get<std::string>();
            if (device.bus.starts_with(peripheral))
                device.needs = device.bus.substr(
                    peripheral.size(), device.bus.find('/', peripheral.size()) - peripheral.size());
            devices.push_back(std::move(device));
            if (devices.size() > max_plugged)
                return fail(ErrorKind::unsupported,
                            "more than {} devices were plugged in since the VM started",
                            max_plugged);
        }
        std::ranges::set_difference(
            names_.devices, present,
            std::inserter(substitutes_.unplugged, substitutes_.unplugged.end()));
        return devices;
    }

    /// A bus comes before what is on it. QOM has no order.
    static std::vector<Device> in_order(std::vector<Device> left) {
        std::ranges::sort(left, {}, &Device::id);
        std::vector<Device> sorted;
        while (!left.empty()) {
            const auto next = std::ranges::find_if(left, [&](const Device& device) {
                return std::ranges::find(left, device.needs, &Device::id) == left.end();
            });
            // A QEMU that was broken into can say that two devices are on each other's bus.
            const auto taken = next == left.end() ? left.begin() : next;
            sorted.push_back(std::move(*taken));
            left.erase(taken);
        }
        return sorted;
    }

    Result<json> property(const Device& device, std::string_view name) {
        return source_.execute("qom-get", {{"path", std::string(peripheral) + device.id},
                                           {"property", std::string(name)}});
    }

    void add(std::string_view option, std::string value) {
        substitutes_.plugged.push_back("-" + std::string(option));
        substitutes_.plugged.push_back(std::move(value));
    }

    Result<void> describe(const Device& device) {
        json option{{"driver", device.type}, {"id", device.id}};
        if (!device.bus.empty())
            option["bus"] = last_part(device.bus);
        GC_CHECK(device.type.ends_with("-cpu") ? describe_place(device, option)
                                               : describe_properties(device, option));
        add("device", option.dump(-1, ' ', false, json::error_handler_t::replace));
        return {};
    }

    /// A CPU has the model and the features of the others.
    Result<void> describe_place(const Device& device, json& option) {
        for (const char* name : {"socket-id", "die-id", "core-id", "thread-id"})
            if (const auto value = property(device, name);
                value && value->is_number_integer() && *value >= 0)
                option[name] = *value;
        return {};
    }

    Result<void> describe_properties(const Device& device, json& option) {
        GC_TRY(const json list,
               source_.execute("device-list-properties", {{"typename", device.type}}));
        for (const json& entry : list) {
            const std::string name = text_at(entry, "name"), type = text_at(entry, "type");
            if (is_left_out(name) || type.starts_with("child<"))
                continue;
            const auto value = property(device, name);
            const auto usual = entry.find("default-value");
            if (!value || value->is_null() || value->is_structured() ||
                (usual != entry.end() && *usual == *value))
                continue;
            if (type.starts_with("link<"))
                GC_CHECK(describe_link(device, name, *value, option));
            else if (name == "addr" && type != "uint64" && value->is_number_integer())
                option[name] =
                    fmt::format("{:x}.{:x}", value->get<int>() >> 3, value->get<int>() & 7);
            else if (*value != "" || name == "romfile")
                option[name] = *value;
        }
        for (const char* backend : {"drive", "netdev", "chardev"})
            if (const std::string id = text_at(option, backend); !id.empty())
                describe_backend(device, backend, id);
        return {};
    }

    Result<void> describe_link(const Device& device, const std::string& name, const json& value,
                               json& option) {
        const std::string path = value.is_string() ? value.get<std::string>() : "";
        if (path.empty() || can_be_missing(name))
            return {};
        const std::string id = last_part(path);
        if (const auto memory = substitutes_.memory.find(id);
            memory != substitutes_.memory.end() && path.starts_with("/objects/")) {
            option[name] = id;
            if (names_.backends.insert(id).second)
                add("object", fmt::format("memory-backend-ram,id={},size={}", escape_commas(id),
                                          memory->second.size));
            return {};
        }
        return fail(ErrorKind::unsupported,
                    "the device '{}', which was plugged in later, refers to {} by its property "
                    "'{}', which a guide cannot have",
                    device.id, path, name);
    }

    void describe_backend(const Device& device, std::string_view kind, const std::string& id) {
        // One of the command line may be used by a device that was plugged in later.
        if (!names_.backends.insert(id).second)
            return;
        if (kind == "chardev")
            add("chardev", "null,id=" + escape_commas(id));
        else if (kind == "netdev")
            describe_network(device, id);
        else
            describe_drive(id);
    }

    void describe_network(const Device& device, const std::string& id) {
        const qmp::NetworkBackend& backend = backends_[id];
        std::string text = fmt::format("{},id={}", escape_commas(backend.type), escape_commas(id));
        if (backend.type == "tap")
            text += fmt::format(",queues={},vnet_hdr={}", backend.queues,
                                device.type.starts_with("virtio-net") ? "on" : "off");
        add("netdev", std::move(text));
    }

    void describe_drive(const std::string& id) {
        OptionList drive;
        drive.set("if", "none");
        drive.set("id", id);
        for (const json& candidate : drives_) {
            const auto medium = candidate.find("inserted");
            if (medium == candidate.end() ||
                (text_at(candidate, "device") != id && text_at(*medium, "node-name") != id))
                continue;
            const auto image = medium->find("image");
            const std::string file =
                image == medium->end() ? std::string() : text_at(*image, "filename");
            if (file.empty())
                break;
            drive.set("file", file);
            if (!file.starts_with("json:"))
                drive.set("format", text_at(*medium, "drv"));
            if (const auto ro = medium->find("ro"); ro != medium->end() && *ro == true)
                drive.set("readonly", "on");
            break;
        }
        add("drive", drive.print());
    }

    qmp::Client& source_;
    OptionNames names_;
    GuideSubstitutes& substitutes_;
    std::map<std::string, qmp::NetworkBackend> backends_;
    json drives_ = json::array();
};

}  // namespace

Result<void> find_plugged(qmp::Client& source, std::span<const std::string> argv,
                          GuideSubstitutes& substitutes) {
    GC_TRY(OptionNames names, names_in(argv, substitutes.config_files));
    return Hotplug(source, std::move(names), substitutes).find();
}

}  // namespace gc::guide
