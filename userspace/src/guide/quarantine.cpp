// SPDX-License-Identifier: GPL-2.0-or-later
#include "guide/quarantine.h"

#include "net/links.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <thread>

namespace gc::guide {

namespace {

/// Disables IPv6 for every device created later in this thread's namespace: a tap would otherwise
/// send neighbour and multicast messages to the guide.
void disable_ipv6() {
    const UniqueFd fd(::open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC));
    if (fd)  // otherwise the kernel has no IPv6
        (void)!::write(fd.get(), "1", 1);
}

Result<UniqueFd> open_queue(const TapRequest& request, ifreq& interface) {
    UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
    if (!fd)
        return fail(ErrorKind::unsupported,
                    "open /dev/net/tun: {}; run 'modprobe tun', and gcctl as root",
                    std::strerror(errno));
    interface.ifr_flags =
        static_cast<short>(IFF_TAP | IFF_NO_PI | (request.vnet_hdr ? IFF_VNET_HDR : 0) |
                           (request.queues > 1 ? IFF_MULTI_QUEUE : 0));
    if (::ioctl(fd.get(), TUNSETIFF, &interface) < 0)
        return fail_errno(errno,
                          fmt::format("create a tap for the guide's network '{}'", request.netdev));
    return fd;
}

/// As large as it may be: the source's network may have jumbo frames, which a mirror shows the
/// guide. QEMU does not ask for it.
Result<void> set_max_mtu(ifreq interface) {
    constexpr int max_mtu = 65535 - 14;  // MAX_MTU less the Ethernet header (drivers/net/tun.c)
    const UniqueFd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    interface.ifr_mtu = max_mtu;
    if (!any || ::ioctl(any.get(), SIOCSIFMTU, &interface) < 0)
        return fail_errno(errno, "set the MTU of the guide's tap");
    return {};
}

net::Link link_of(const Tap& tap) {
    return {.index = tap.index, .name = tap.name, .kind = "tun"};
}

}  // namespace

Result<Quarantine> Quarantine::create(std::span<const TapRequest> requests) {
    Quarantine quarantine;
    Result<void> built;
    // unshare() changes the namespace of the calling thread only. The descriptors keep the
    // namespace when the thread ends.
    std::thread([&] { built = quarantine.build(requests); }).join();
    if (!built)
        return wrap(std::move(built).error(), "the guide's network");
    return quarantine;
}

Result<void> Quarantine::build(std::span<const TapRequest> requests) {
    if (::unshare(CLONE_NEWNET) < 0)
        return fail(errno == EPERM ? ErrorKind::unsupported : ErrorKind::io,
                    "create a network namespace: {}; run as root (CAP_SYS_ADMIN)",
                    std::strerror(errno));
    namespace_ = UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!namespace_)
        return fail_errno(errno, "open /proc/thread-self/ns/net");
    disable_ipv6();
    GC_TRY(net::Netlink netlink, net::Netlink::open());
    netlink_ = std::make_unique<net::Netlink>(std::move(netlink));
    for (const TapRequest& request : requests)
        GC_CHECK(add_tap(request));
    if (auto added = add_sink(); !added)
        without_sink_ = added.error().message;
    return {};
}

Result<void> Quarantine::add_sink() {
    if (taps_.empty())
        return {};
    GC_TRY(Sink sink, Sink::load());
    for (const Tap& tap : taps_)
        GC_CHECK(sink.attach(tap.index));
    sink_ = std::move(sink);
    return {};
}

Result<void> Quarantine::add_tap(const TapRequest& request) {
    ifreq interface {};
    Tap tap;
    tap.netdev = request.netdev;
    tap.name = fmt::format("gctap{}", taps_.size());
    std::memcpy(interface.ifr_name, tap.name.c_str(), tap.name.size() + 1);
    for (unsigned queue = 0; queue < request.queues; ++queue) {
        GC_TRY(auto fd, open_queue(request, interface));
        tap.queues.push_back(std::move(fd));
    }
    tap.index = static_cast<int>(::if_nametoindex(tap.name.c_str()));
    GC_CHECK(set_max_mtu(interface));
    GC_CHECK(net::set_up(*netlink_, link_of(tap)));
    taps_.push_back(std::move(tap));
    return {};
}

Result<Sent> Quarantine::sent_by_guide() const {
    if (sink_)
        return sink_->sent();
    Sent sent;
    for (const Tap& tap : taps_) {
        // A frame that a program writes to a tap counts as received by the device.
        GC_TRY(const net::ReceivedCount received, net::received_by(*netlink_, link_of(tap)));
        sent.packets += received.packets;
        sent.bytes += received.bytes;
    }
    return sent;
}

Result<UniqueFd> make_scratch(std::uint64_t max_bytes) {
    const UniqueFd context(::fsopen("tmpfs", FSOPEN_CLOEXEC));
    if (!context)
        return fail(errno == EPERM ? ErrorKind::unsupported : ErrorKind::io,
                    "create a scratch file system: {}; run as root (CAP_SYS_ADMIN)",
                    std::strerror(errno));
    const auto size = std::to_string(max_bytes);
    if (::fsconfig(context.get(), FSCONFIG_SET_STRING, "size", size.c_str(), 0) < 0 ||
        ::fsconfig(context.get(), FSCONFIG_SET_STRING, "mode", "1777", 0) < 0 ||
        ::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0)
        return fail_errno(errno, "configure a scratch file system");
    UniqueFd mount(::fsmount(context.get(), FSMOUNT_CLOEXEC,
                             MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
    if (!mount)
        return fail_errno(errno, "mount a scratch file system");
    return mount;
}

}  // namespace gc::guide
