// SPDX-License-Identifier: GPL-2.0-or-later
// Networks: every back end that leads out of the host becomes a tap in the guide's network
// namespace, with nobody at its other end. A `user` back end stays, cut off from everything,
// because its state
// ("slirp") is part of the migration stream.
#include "guide/derivation.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace gc::guide {

namespace {

template <std::size_t N>
bool one_of(std::string_view value, const std::array<std::string_view, N>& list) {
    return std::find(list.begin(), list.end(), value) != list.end();
}

constexpr std::array<std::string_view, 10> becomes_tap = {
    "tap", "bridge", "socket", "stream", "dgram", "vde", "l2tpv3", "netmap", "af-xdp", "passt"};

/// Keys of the NIC in -nic and -net nic; the other keys of -nic belong to its back end.
constexpr std::array<std::string_view, 6> nic_keys = {"model", "mac",  "macaddr",
                                                      "addr",  "name", "vectors"};

/// Settings of `user` that reach a host port, program or file.
constexpr std::array<std::string_view, 7> user_reaches_out = {
    "hostfwd", "guestfwd", "smb", "smbserver", "tftp", "tftp-server-name", "bootfile"};

/// From fds=30:31, fds.0=30 (a JSON array) or queues=N; 1 by default.
unsigned queues_of(const OptionList& netdev) {
    if (netdev.has("fds")) {
        const std::string fds = netdev.get("fds");
        return static_cast<unsigned>(std::count(fds.begin(), fds.end(), ':')) + 1;
    }
    unsigned listed = 0;
    while (netdev.has(fmt::format("fds.{}", listed)))
        ++listed;
    if (listed > 0)
        return listed;
    unsigned queues = 1;
    const std::string text = netdev.get("queues");
    std::from_chars(text.data(), text.data() + text.size(), queues);
    return std::clamp(queues, 1u, 256u);
}

OptionList tap_for(Derivation& derivation, const OptionList& source) {
    TapRequest tap;
    tap.netdev = source.get("id");
    tap.queues = queues_of(source);
    tap.vnet_hdr = derivation.wants_vnet_hdr(source);
    tap.first_fd = derivation.take_fds(tap.queues);
    OptionList netdev;
    netdev.set("type", "tap");
    if (!tap.netdev.empty())
        netdev.set("id", tap.netdev);
    std::string fds;
    for (unsigned queue = 0; queue < tap.queues; ++queue)
        fds += (queue ? ":" : "") + std::to_string(tap.first_fd + static_cast<int>(queue));
    netdev.set(tap.queues == 1 ? "fd" : "fds", fds);
    derivation.guide.taps.push_back(std::move(tap));
    return netdev;
}

OptionList cut_off_user(Derivation& derivation, OptionList netdev) {
    for (const auto key : user_reaches_out)
        netdev.remove_tree(key);
    netdev.set("restrict", "on");
    derivation.note("user networks reach nothing; a guest that uses guestfwd cannot have a guide");
    return netdev;
}

/// The harmless form of a back end, without NIC keys. Errors: unsupported
Result<OptionList> harmless_backend(Derivation& derivation, const OptionList& source) {
    const std::string type = source.get("type");
    if (type == "user")
        return cut_off_user(derivation, source);
    if (type == "hubport" || type == "none")
        return source;
    if (one_of(type, becomes_tap))
        return tap_for(derivation, source);
    if (type == "vhost-user" || type == "vhost-vdpa")
        return refuse("a network of type " + type,
                      "another process or device would write into the guide's memory");
    return refuse(fmt::format("a network of type '{}'", type), "guidecopy does not know this type");
}

}  // namespace

Result<void> translate_netdev(Derivation& derivation, const SourceOption& option) {
    GC_TRY(const auto source, OptionList::parse(option.value, "type"));
    GC_TRY(const auto netdev, harmless_backend(derivation, source));
    derivation.emit("netdev", netdev.print("type"));
    return {};
}

Result<void> translate_nic(Derivation& derivation, const SourceOption& option) {
    GC_TRY(auto source, OptionList::parse(option.value, "type"));
    std::vector<OptionList::Entry> nic;
    for (const auto& entry : source.entries())
        if (one_of(entry.first, nic_keys))
            nic.push_back(entry);
    for (const auto& entry : nic)
        source.remove(entry.first);
    GC_TRY(auto backend, harmless_backend(derivation, source));
    for (const auto& [key, value] : nic)
        backend.set(key, value);
    derivation.emit("nic", backend.print("type"));
    return {};
}

Result<void> translate_net(Derivation& derivation, const SourceOption& option) {
    GC_TRY(auto source, OptionList::parse(option.value, "type"));
    if (source.get("type") == "nic") {
        derivation.emit("net", option.value);
        return {};
    }
    GC_TRY(auto backend, harmless_backend(derivation, source));
    // -net calls the id a name (net_init_client() in net/net.c accepts both).
    if (source.has("name"))
        backend.set("name", source.get("name"));
    derivation.emit("net", backend.print("type"));
    return {};
}

std::vector<OptionRow> network_rows() {
    std::string taps, cut;
    for (const std::string_view type : becomes_tap)
        taps += fmt::format("{}{}", taps.empty() ? "" : ", ", type);
    for (const std::string_view key : user_reaches_out)
        cut += fmt::format("{}`{}`", cut.empty() ? "" : ", ", key);
    return {
        {taps, "a tap in the guide's network namespace, which leads nowhere"},
        {"user", "kept with `restrict=on`, without " + cut},
        {"hubport, none", "kept"},
        {"vhost-user, vhost-vdpa", "refused: another process or device would write into the "
                                   "guide's memory"},
        {"any other", "refused: guidecopy does not know it"},
    };
}

}  // namespace gc::guide
