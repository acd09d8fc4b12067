// SPDX-License-Identifier: GPL-2.0-or-later
#include "evacuate/facts.h"

#include "libvirt/connection.h"
#include "libvirt/domain.h"
#include "libvirt/guest_cpu.h"

#include <algorithm>

namespace gc::evacuate {
namespace {

using Connections = std::vector<std::shared_ptr<libvirt::Connection>>;

Result<Connections> connect(const Options& options, std::vector<Host>& hosts) {
    Connections connections;
    for (const Destination& destination : options.destinations) {
        const auto known = std::ranges::find(hosts, destination.uri, &Host::uri);
        if (known != hosts.end()) {
            known->ports.push_back(destination.to);
            continue;
        }
        GC_TRY(auto connection, libvirt::Connection::open(destination.uri));
        GC_TRY(const std::uint64_t available, connection->available_memory());
        hosts.push_back({destination.uri, available, {destination.to}});
        connections.push_back(std::move(connection));
    }
    return connections;
}

/// @return why the VM cannot be moved by gcctl; else empty
Result<std::string> unfit(const libvirt::Domain& domain) {
    GC_TRY(const libvirt::Domain::State state, domain.state());
    if (state.running)
        return std::string();
    if (state.postcopy_failed)
        return std::string("an earlier migration of it is not finished: see gcctl status");
    return fmt::format("expected a domain that is running, it is {}",
                       state.paused ? "paused: resume it first" : "not");
}

class Finder {
  public:
    Finder(const Connections& hosts, std::string host_cpu, Found& found)
        : hosts_(hosts), host_cpu_(std::move(host_cpu)), found_(found) {}

    Result<Vm> look_at(const libvirt::Domain& domain) {
        GC_TRY(const libvirt::Domain::Size size, domain.size());
        GC_TRY(std::string unfit_here, unfit(domain));
        GC_TRY(const std::string xml, domain.xml());
        Vm vm{.name = domain.name(),
              .uuid = domain.uuid(),
              .memory = size.max_memory,
              .vcpus = size.vcpus,
              .priority = priority_of(domain),
              .unfit = std::move(unfit_here),
              .unfit_for = {}};
        const libvirt::GuestCpu cpu = libvirt::parse_guest_cpu(xml);
        for (const auto& host : hosts_)
            vm.unfit_for.push_back(compare_cpu(vm.name, cpu, *host));
        return vm;
    }

    /// Whether a destination has a running domain of that name or UUID.
    [[nodiscard]] bool runs_there(const std::string& named) const {
        return std::ranges::any_of(hosts_, [&](const auto& host) {
            const auto domain = libvirt::Domain::find(host, named);
            const auto state = domain ? domain->state() : Unexpected(domain.error());
            return state && state->active;
        });
    }

  private:
    int priority_of(const libvirt::Domain& domain) {
        const auto element = domain.metadata(std::string(metadata_namespace));
        if (element && element->empty())
            return 0;
        const auto priority = element ? parse_priority(*element) : Unexpected(element.error());
        if (!priority)
            found_.warnings.push_back(
                fmt::format("{}: no priority: {}", domain.name(), priority.error().message));
        return priority.value_or(0);
    }

    std::string compare_cpu(const std::string& name, const libvirt::GuestCpu& cpu,
                            const libvirt::Connection& host) {
        if (cpu.of_host ? host_cpu_.empty() : cpu.cpu.empty())
            return {};  // the machine's own, which every host has
        const auto can = cpu.of_host ? host.has_cpu_of(host_cpu_) : host.can_have_cpu(cpu);
        if (!can)
            found_.warnings.push_back(fmt::format("{}: its CPU was not compared with {}: {}", name,
                                                  host.uri(), can.error().message));
        return can.value_or(true) ? "" : "that host cannot give the VM its CPU";
    }

    const Connections& hosts_;
    std::string host_cpu_;
    Found& found_;
};

Result<void> find_vms(const Options& options, const std::vector<libvirt::Domain>& active,
                      Finder& finder, Found& found) {
    if (options.domains.empty()) {
        for (const libvirt::Domain& domain : active) {
            if (auto vm = finder.look_at(domain))
                found.facts.vms.push_back(*std::move(vm));
            else  // it may have been shut down meanwhile
                found.warnings.push_back(
                    fmt::format("{}: left out: {}", domain.name(), vm.error().message));
        }
        std::ranges::sort(found.facts.vms, {}, &Vm::name);
        return {};
    }
    for (const std::string& named : options.domains) {
        const auto domain = std::ranges::find_if(active, [&](const libvirt::Domain& each) {
            return each.name() == named || each.uuid() == named;
        });
        if (domain != active.end()) {
            GC_TRY(Vm vm, finder.look_at(*domain));
            found.facts.vms.push_back(std::move(vm));
        } else if (finder.runs_there(named)) {
            found.moved_before.push_back(named);
        } else {
            return fail(ErrorKind::unsupported,
                        "domain '{}' runs neither here nor at a destination; see 'virsh -c {} "
                        "list'",
                        named, options.connect);
        }
    }
    return {};
}

}  // namespace

Result<Found> find_facts(const Options& options) {
    Found found;
    GC_TRY(const auto here, libvirt::Connection::open(options.connect));
    GC_TRY(const Connections hosts, connect(options, found.facts.hosts));
    GC_TRY(std::string host_cpu, here->host_cpu());
    GC_TRY(const auto active, libvirt::Domain::active(here));
    Finder finder(hosts, std::move(host_cpu), found);
    GC_CHECK(find_vms(options, active, finder, found));
    return found;
}

}  // namespace gc::evacuate
