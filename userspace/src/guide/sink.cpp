// SPDX-License-Identifier: GPL-2.0-or-later
#include "guide/sink.h"

#include "gc_sent.h"
#include "quarantine.skel.h"

#include <array>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cerrno>
#include <cstring>
#include <vector>

namespace gc::guide {

void Sink::Destroy::operator()(bpf_object* object) const {
    ::bpf_object__close(object);
}

Result<Sink> Sink::load() {
    ::libbpf_set_print(nullptr);
    std::size_t size = 0;
    const void* bytes = ::quarantine__elf_bytes(&size);
    Object object(::bpf_object__open_mem(bytes, size, nullptr));
    if (!object || ::bpf_object__load(object.get()) < 0)
        return fail(ErrorKind::unsupported,
                    "the kernel does not load quarantine.bpf.o: {}; run as root (CAP_BPF, "
                    "CAP_NET_ADMIN)",
                    std::strerror(errno));
    return Sink(std::move(object));
}

Result<void> Sink::attach(int link) {
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = link, .attach_point = BPF_TC_INGRESS);
    int error = -::bpf_tc_hook_create(&hook);
    if (error == ENOENT)
        return fail(ErrorKind::unsupported,
                    "the kernel has no clsact qdisc; run 'modprobe sch_ingress'");
    if (error != 0)
        return fail_errno(error, "create the clsact qdisc of a tap");
    const auto* program = ::bpf_object__find_program_by_name(object_.get(), "quarantine");
    LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = ::bpf_program__fd(program));
    error = -::bpf_tc_attach(&hook, &options);
    if (error == ENOENT)
        return fail(ErrorKind::unsupported,
                    "the kernel has no BPF classifier; run 'modprobe cls_bpf'");
    if (error != 0)
        return fail_errno(error, "add the filter to a tap's clsact");
    return {};
}

Result<Sent> Sink::sent() const {
    const int map = ::bpf_object__find_map_fd_by_name(object_.get(), "gc_sent");
    const int cpus = ::libbpf_num_possible_cpus();
    if (cpus < 0)
        return fail_errno(-cpus, "count the CPUs");
    std::vector<gc_sent> of_cpus(static_cast<std::size_t>(cpus));
    std::array<std::uint64_t, GC_SENT_KINDS> packets{};
    Sent sent;
    for (std::uint32_t kind = 0; kind < GC_SENT_KINDS; ++kind) {
        if (::bpf_map_lookup_elem(map, &kind, of_cpus.data()) < 0)
            return fail_errno(errno, "read what the guide sent");
        for (const gc_sent& of_cpu : of_cpus) {
            packets[kind] += of_cpu.packets;
            sent.bytes += of_cpu.bytes;
        }
        sent.packets += packets[kind];
    }
    sent.arp = packets[GC_SENT_ARP];
    sent.ipv4 = packets[GC_SENT_IPV4];
    sent.ipv6 = packets[GC_SENT_IPV6];
    sent.other = packets[GC_SENT_OTHER];
    return sent;
}

}  // namespace gc::guide
