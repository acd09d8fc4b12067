// SPDX-License-Identifier: GPL-2.0-or-later
#include "mirror/taps.h"

#include "qmp/monitor_text.h"
#include "util/pidfd.h"
#include "util/process_maps.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <optional>
#include <sys/ioctl.h>

namespace gc::mirror {
namespace {

/// A descriptor of /dev/net/tun of QEMU.
struct Queue {
    int number = -1;     ///< in QEMU
    UniqueFd fd;         ///< here
    std::string device;  ///< its name
};

Result<std::vector<Queue>> queues_of(pid_t qemu) {
    GC_TRY(const std::vector<int> numbers, process_fds(qemu, "/dev/net/tun"));
    const UniqueFd process(::pidfd_open(qemu, 0));
    if (!process)
        return fail_errno(errno, "open the process of QEMU");
    std::vector<Queue> queues;
    for (const int number : numbers) {
        UniqueFd fd(::pidfd_getfd(process.get(), number, 0));
        if (!fd)
            return fail_errno(errno, "take a duplicate of QEMU's tap");
        ifreq device{};
        if (::ioctl(fd.get(), TUNGETIFF, &device) == 0)
            queues.push_back({number, std::move(fd), device.ifr_name});
    }
    return queues;
}

/// The network namespace of a tap need not be that of its QEMU.
Result<UniqueFd> namespace_of(const Queue& queue, pid_t qemu) {
    UniqueFd fd(::ioctl(queue.fd.get(), TUNGETDEVNETNS, 0));
    if (!fd)
        fd.reset(::open(fmt::format("/proc/{}/ns/net", qemu).c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd)
        return fail_errno(errno, fmt::format("open the network namespace of '{}'", queue.device));
    return fd;
}

/// The queue of a NIC: by its descriptor, or by the name of its device. A helper
/// (-netdev bridge) tells neither; then it must be the only one.
const Queue* queue_of(const qmp::NetworkNic& nic, const std::vector<Queue>& queues) {
    const auto found = std::ranges::find_if(queues, [&](const Queue& queue) {
        return nic.ifname.empty() ? queue.number == nic.fd : queue.device == nic.ifname;
    });
    if (found != queues.end())
        return &*found;
    return nic.ifname.empty() && nic.fd < 0 && queues.size() == 1 ? &queues.front() : nullptr;
}

Result<Tap> open_tap(const qmp::NetworkNic& nic, const std::vector<Queue>& queues, pid_t qemu) {
    const auto mac = parse_mac(nic.mac);
    if (!mac)
        return fail(ErrorKind::protocol, "QEMU gives no MAC of it");
    if (nic.backend.empty())
        return fail(ErrorKind::unsupported, "it has no back end");
    if (nic.backend != "tap")
        return fail(ErrorKind::unsupported, "its back end is '{}', not a tap", nic.backend);
    const Queue* queue = queue_of(nic, queues);
    if (queue == nullptr)
        return fail(ErrorKind::unsupported,
                    "its tap was not found among QEMU's descriptors (a macvtap is none)");
    GC_TRY(UniqueFd space, namespace_of(*queue, qemu));
    GC_TRY(PacketSocket socket,
           PacketSocket::open(space.get(), queue->device, PacketSocket::Receives::sent_to, *mac));
    return Tap{nic.mac, std::move(socket), queue->device, std::move(space)};
}

}  // namespace

Taps find_taps(qmp::Client& qmp, pid_t qemu) {
    Taps taps;
    const auto text = qmp.hmp("info network");
    if (!text)
        return {{}, text.error().message};
    const std::vector<qmp::NetworkNic> nics = qmp::parse_networks(*text);
    if (nics.empty())
        return {{}, "the VM has no NIC of QEMU's"};
    const auto queues = queues_of(qemu);
    if (!queues)
        return {{}, queues.error().message};
    for (const qmp::NetworkNic& nic : nics) {
        auto tap = open_tap(nic, *queues, qemu);
        if (tap)
            taps.found.push_back(*std::move(tap));
        else
            taps.reason += fmt::format("{}NIC '{}': {}", taps.reason.empty() ? "" : "; ", nic.name,
                                       tap.error().message);
    }
    return taps;
}

}  // namespace gc::mirror
