// SPDX-License-Identifier: GPL-2.0-or-later
#include "libvirt/connection.h"

#include "libvirt/event_loop.h"
#include "libvirt/guest_cpu.h"
#include "libvirt/library.h"
#include "libvirt/xml.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <vector>

namespace gc::libvirt {
namespace {

using Callback = std::function<void(const DomainEvent&)>;

/// The element for a type of virtualisation.
pugi::xml_node label_of(const pugi::xml_node& model, const char* type) {
    return model.find_child_by_attribute("baselabel", "type", type);
}

/// "+64055", as in "+64055:+64055".
std::optional<unsigned> parse_id(std::string_view text) {
    if (text.starts_with('+'))
        text.remove_prefix(1);
    unsigned id = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    return error == std::errc() && end == text.data() + text.size() ? std::optional(id)
                                                                    : std::nullopt;
}

DomainEvent::What what_of(int event) {
    switch (event) {
    case VIR_DOMAIN_EVENT_SUSPENDED:
        return DomainEvent::What::suspended;
    case VIR_DOMAIN_EVENT_RESUMED:
        return DomainEvent::What::resumed;
    case VIR_DOMAIN_EVENT_STOPPED:
        return DomainEvent::What::stopped;
    default:
        return DomainEvent::What::other;
    }
}

bool is_by_migration(int event, int detail) {
    return (event == VIR_DOMAIN_EVENT_SUSPENDED &&
            (detail == VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED ||
             detail == VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY)) ||
           (event == VIR_DOMAIN_EVENT_STOPPED && detail == VIR_DOMAIN_EVENT_STOPPED_MIGRATED);
}

struct Subscriber {
    const Library& library;
    Callback on_event;
};

int on_lifecycle(virConnectPtr /*connection*/, virDomainPtr domain, int event, int detail,
                 void* data) {
    const auto& subscriber = *static_cast<const Subscriber*>(data);
    std::array<char, VIR_UUID_STRING_BUFLEN> uuid{};
    if (subscriber.library.virDomainGetUUIDString(domain, uuid.data()) == 0)
        subscriber.on_event({what_of(event), uuid.data(), is_by_migration(event, detail)});
    return 0;
}

}  // namespace

std::optional<QemuUser> parse_qemu_user(std::string_view capabilities) {
    // <secmodel><model>dac</model><doi>0</doi><baselabel type='kvm'>+64055:+64055</baselabel>...
    const pugi::xml_document document = parse_xml(capabilities);
    const pugi::xml_node model =
        document.child("capabilities").child("host").find_child([](const pugi::xml_node& child) {
            return std::string_view(child.child_value("model")) == "dac";
        });
    const pugi::xml_node kvm = label_of(model, "kvm");
    const std::string_view label = (kvm ? kvm : label_of(model, "qemu")).child_value();
    const std::size_t colon = label.find(':');
    if (colon == std::string_view::npos)
        return std::nullopt;
    const auto uid = parse_id(label.substr(0, colon));
    const auto gid = parse_id(label.substr(colon + 1));
    return uid && gid ? std::optional(QemuUser{*uid, *gid}) : std::nullopt;
}

std::string parse_host_cpu(std::string_view capabilities) {
    const pugi::xml_document document = parse_xml(capabilities);
    return text_of(document.child("capabilities").child("host").child("cpu"));
}

Connection::Connection(const Library& library, std::string uri)
    : library_(library), uri_(std::move(uri)) {}

Result<std::shared_ptr<Connection>> Connection::open(const std::string& uri) {
    GC_TRY(const Library* library, Library::load());
    auto connection = std::shared_ptr<Connection>(new Connection(*library, uri));
    GC_TRY(connection->loop_, EventLoop::shared(*library));
    virConnectPtr opened = library->virConnectOpen(uri.c_str());
    if (opened == nullptr)
        return library->failed(ErrorKind::unsupported, fmt::format("connect to {}", uri));
    connection->connection_ = opened;
    const char* type = library->virConnectGetType(opened);
    if (type == nullptr || std::string_view(type) != "QEMU")
        return fail(ErrorKind::unsupported, "expected libvirt's QEMU at {}, found {}", uri,
                    type == nullptr ? "none" : type);
    return connection;
}

Connection::~Connection() {
    auto* connection = static_cast<virConnectPtr>(connection_);
    if (subscription_ >= 0)
        library_.virConnectDomainEventDeregisterAny(connection, subscription_);
    if (connection != nullptr)
        library_.virConnectClose(connection);
}

Result<std::string> Connection::capabilities() const {
    const std::unique_ptr<char, decltype(&std::free)> text(
        library_.virConnectGetCapabilities(static_cast<virConnectPtr>(connection_)), std::free);
    if (!text)
        return library_.failed(ErrorKind::unsupported, "ask for the host's capabilities");
    return std::string(text.get());
}

Result<std::uint64_t> Connection::available_memory() const {
    auto* connection = static_cast<virConnectPtr>(connection_);
    int count = 0;
    int asked = library_.virNodeGetMemoryStats(connection, VIR_NODE_MEMORY_STATS_ALL_CELLS, nullptr,
                                               &count, 0);
    std::vector<virNodeMemoryStats> stats(static_cast<std::size_t>(std::max(count, 0)));
    if (asked == 0)
        asked = library_.virNodeGetMemoryStats(connection, VIR_NODE_MEMORY_STATS_ALL_CELLS,
                                               stats.data(), &count, 0);
    if (asked < 0)
        return library_.failed(ErrorKind::io, "ask for the host's memory");
    std::uint64_t kib = 0;
    for (const virNodeMemoryStats& each : stats)
        if (const std::string_view field = each.field; field == VIR_NODE_MEMORY_STATS_FREE ||
                                                       field == VIR_NODE_MEMORY_STATS_CACHED ||
                                                       field == VIR_NODE_MEMORY_STATS_BUFFERS)
            kib += each.value;
    return kib << 10;
}

Result<std::string> Connection::host_cpu() const {
    GC_TRY(const std::string text, capabilities());
    return parse_host_cpu(text);
}

Result<bool> Connection::can_have_cpu(const GuestCpu& guest) const {
    const auto or_null = [](const std::string& text) {
        return text.empty() ? nullptr : text.c_str();
    };
    const int result = library_.virConnectCompareHypervisorCPU(
        static_cast<virConnectPtr>(connection_), or_null(guest.emulator), or_null(guest.arch),
        or_null(guest.machine), or_null(guest.type), guest.cpu.c_str(), 0);
    if (result < 0)
        return library_.failed(ErrorKind::io, "compare CPUs");
    return result != VIR_CPU_COMPARE_INCOMPATIBLE;
}

Result<bool> Connection::has_cpu_of(const std::string& cpu) const {
    // Not as above: a host's CPU has features that no guest is given.
    const int result =
        library_.virConnectCompareCPU(static_cast<virConnectPtr>(connection_), cpu.c_str(), 0);
    if (result < 0)
        return library_.failed(ErrorKind::io, "compare CPUs");
    return result != VIR_CPU_COMPARE_INCOMPATIBLE;
}

Result<QemuUser> Connection::qemu_user() const {
    GC_TRY(const std::string text, capabilities());
    const auto user = parse_qemu_user(text);
    if (!user)
        return fail(ErrorKind::unsupported,
                    "expected a base label of the model dac among the capabilities of {}; see "
                    "'virsh capabilities'",
                    uri_);
    return *user;
}

Result<Connection::Version> Connection::qemu_version() const {
    unsigned long number = 0;
    if (library_.virConnectGetVersion(static_cast<virConnectPtr>(connection_), &number) < 0)
        return library_.failed(ErrorKind::io, "ask for QEMU's version");
    return Version{static_cast<unsigned>(number / 1'000'000),
                   static_cast<unsigned>(number / 1000 % 1000),
                   static_cast<unsigned>(number % 1000)};
}

Result<void> Connection::subscribe(Callback on_event) {
    auto subscriber = std::unique_ptr<Subscriber>(new Subscriber{library_, std::move(on_event)});
    subscription_ = library_.virConnectDomainEventRegisterAny(
        static_cast<virConnectPtr>(connection_), nullptr, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
        VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), subscriber.get(),
        [](void* data) { delete static_cast<Subscriber*>(data); });
    if (subscription_ < 0)
        return library_.failed(ErrorKind::io, "subscribe to events");
    (void)subscriber.release();  // libvirt frees it
    return {};
}

}  // namespace gc::libvirt
