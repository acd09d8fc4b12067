// SPDX-License-Identifier: GPL-2.0-or-later
#include "libvirt/domain.h"

#include "libvirt/library.h"
#include "qmp/qemu_process.h"
#include "util/whole_file.h"

#include <array>
#include <charconv>
#include <cstdlib>
#include <span>

namespace gc::libvirt {
namespace {

virDomainPtr pointer(const Domain& domain) {
    return static_cast<virDomainPtr>(domain.get());
}

}  // namespace

Domain::Domain(std::shared_ptr<Connection> connection, std::shared_ptr<void> domain)
    : connection_(std::move(connection)), domain_(std::move(domain)) {}

Result<Domain> Domain::find(std::shared_ptr<Connection> connection, const std::string& named) {
    const Library& library = connection->library();
    auto* from = static_cast<virConnectPtr>(connection->get());
    virDomainPtr found = library.virDomainLookupByName(from, named.c_str());
    if (found == nullptr)
        found = library.virDomainLookupByUUIDString(from, named.c_str());
    if (found == nullptr)
        return fail(ErrorKind::unsupported, "no domain '{}' at {}; see 'virsh -c {} list'", named,
                    connection->uri(), connection->uri());
    return own(std::move(connection), found);
}

Result<Domain> Domain::own(std::shared_ptr<Connection> connection, void* found) {
    const Library& library = connection->library();
    Domain domain(std::move(connection), std::shared_ptr<void>(found, [&library](void* freed) {
                      library.virDomainFree(static_cast<virDomainPtr>(freed));
                  }));
    std::array<char, VIR_UUID_STRING_BUFLEN> uuid{};
    if (library.virDomainGetUUIDString(pointer(domain), uuid.data()) < 0)
        return library.failed(ErrorKind::io, "ask for a domain's UUID");
    domain.uuid_ = uuid.data();
    domain.name_ = library.virDomainGetName(pointer(domain));
    return domain;
}

Result<std::vector<Domain>> Domain::active(const std::shared_ptr<Connection>& connection) {
    const Library& library = connection->library();
    virDomainPtr* list = nullptr;
    const int count = library.virConnectListAllDomains(
        static_cast<virConnectPtr>(connection->get()), &list, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
    if (count < 0)
        return library.failed(ErrorKind::io, "list the domains");
    const std::unique_ptr<virDomainPtr, decltype(&std::free)> freed(list, std::free);
    std::vector<Domain> domains;
    Result<void> failed;
    for (virDomainPtr found : std::span(list, static_cast<std::size_t>(count))) {
        auto domain = own(connection, found);
        if (domain)
            domains.push_back(*std::move(domain));
        else
            failed = Unexpected(domain.error());
    }
    return failed ? Result<std::vector<Domain>>(std::move(domains)) : Unexpected(failed.error());
}

Result<void> Domain::done(int result, std::string_view what) const {
    return result < 0 ? Result<void>(library().failed(ErrorKind::io, what)) : Result<void>{};
}

Result<Domain::State> Domain::state() const {
    int state = 0;
    int reason = 0;
    GC_CHECK(done(library().virDomainGetState(pointer(*this), &state, &reason, 0),
                  "ask for the domain's state"));
    return State{.running = state == VIR_DOMAIN_RUNNING,
                 .paused = state == VIR_DOMAIN_PAUSED,
                 .active = state != VIR_DOMAIN_SHUTOFF && state != VIR_DOMAIN_NOSTATE &&
                           state != VIR_DOMAIN_CRASHED,
                 .postcopy_failed =
                     state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_POSTCOPY_FAILED,
                 .migrating = state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_MIGRATION};
}

Result<Domain::Size> Domain::size() const {
    virDomainInfo info{};
    GC_CHECK(done(library().virDomainGetInfo(pointer(*this), &info), "ask for the domain's size"));
    return Size{.max_memory = std::uint64_t{info.maxMem} << 10, .vcpus = info.nrVirtCpu};
}

Result<std::string> Domain::xml() const {
    const std::unique_ptr<char, decltype(&std::free)> text(
        library().virDomainGetXMLDesc(pointer(*this), 0), std::free);
    if (!text)
        return library().failed(ErrorKind::io, "ask for the domain's description");
    return std::string(text.get());
}

Result<std::string> Domain::metadata(const std::string& xml_namespace) const {
    const std::unique_ptr<char, decltype(&std::free)> text(
        library().virDomainGetMetadata(pointer(*this), VIR_DOMAIN_METADATA_ELEMENT,
                                       xml_namespace.c_str(), VIR_DOMAIN_AFFECT_CURRENT),
        std::free);
    if (text)
        return std::string(text.get());
    const virError* error = library().virGetLastError();
    if (error != nullptr && error->code == VIR_ERR_NO_DOMAIN_METADATA)
        return std::string();
    return library().failed(ErrorKind::io, "ask for the domain's metadata");
}

Result<pid_t> Domain::qemu() const {
    const std::string path = fmt::format("/run/libvirt/qemu/{}.pid", name_);
    const auto text = read_whole_file(path, 64);
    if (!text)
        return fail(ErrorKind::unsupported,
                    "expected the process of the domain's QEMU in {}: {}; run gcctl as root, on "
                    "the domain's host",
                    path, text.error().message);
    pid_t pid = 0;
    std::from_chars(text->data(), text->data() + text->size(), pid);
    const auto command = read_whole_file(fmt::format("/proc/{}/cmdline", pid), 1 << 20);
    if (!qmp::is_qemu(pid) || !command || command->find(uuid_) == std::string::npos)
        return fail(ErrorKind::unsupported, "process {}, named by {}, is not the domain's QEMU",
                    pid, path);
    return pid;
}

Result<std::string> Domain::monitor_command(const std::string& command) const {
    char* reply = nullptr;
    GC_CHECK(done(library().virDomainQemuMonitorCommand(pointer(*this), command.c_str(), &reply,
                                                        VIR_DOMAIN_QEMU_MONITOR_COMMAND_DEFAULT),
                  "send a command to QEMU"));
    const std::unique_ptr<char, decltype(&std::free)> freed(reply, std::free);
    return std::string(reply);
}

Result<void> Domain::set_max_speed(std::uint64_t mib_per_s) const {
    return done(library().virDomainMigrateSetMaxSpeed(pointer(*this), mib_per_s, 0),
                "limit the migration's rate");
}

Result<void> Domain::set_max_downtime(std::chrono::milliseconds limit) const {
    return done(library().virDomainMigrateSetMaxDowntime(
                    pointer(*this), static_cast<unsigned long long>(limit.count()), 0),
                "limit the migration's downtime");
}

Result<void> Domain::start_postcopy() const {
    return done(library().virDomainMigrateStartPostCopy(pointer(*this), 0), "start post-copy");
}

Result<void> Domain::abort_job() const {
    return done(library().virDomainAbortJob(pointer(*this)), "abort the migration");
}

Result<JobMemory> Domain::job_memory() const {
    int type = 0;
    virTypedParameterPtr parameters = nullptr;
    int count = 0;
    GC_CHECK(done(library().virDomainGetJobStats(pointer(*this), &type, &parameters, &count, 0),
                  "ask for the migration's statistics"));
    unsigned long long iteration = 0;
    unsigned long long remaining = 0;
    (void)library().virTypedParamsGetULLong(parameters, count, VIR_DOMAIN_JOB_MEMORY_ITERATION,
                                            &iteration);
    (void)library().virTypedParamsGetULLong(parameters, count, VIR_DOMAIN_JOB_MEMORY_REMAINING,
                                            &remaining);
    library().virTypedParamsFree(parameters, count);
    return JobMemory{static_cast<unsigned>(iteration), remaining};
}

}  // namespace gc::libvirt
