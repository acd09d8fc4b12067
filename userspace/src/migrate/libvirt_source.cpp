// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/libvirt_source.h"

#include "libvirt/daemon.h"
#include "qmp/migration.h"
#include "util/poll.h"
#include "util/socket.h"

#include <fmt/format.h>
#include <unistd.h>

namespace gc::migrate {
namespace {

using namespace std::chrono_literals;

/// For libvirt's checks, and for the start of the destination's QEMU.
constexpr auto start_timeout = 120s;
constexpr auto look_interval = 50ms;
/// For libvirt to have come so far that it takes the command to switch over.
constexpr auto switch_over_timeout = 30s;
constexpr auto abort_timeout = 30s;
/// The least that libvirt can be told, in MiB/s: 100 KiB in each of QEMU's windows.
constexpr std::uint64_t held = 1;

std::string reason_of(const Result<void>& result) {
    return result ? "libvirt has completed it" : result.error().message;
}

}  // namespace

Result<LibvirtSource::Vm> LibvirtSource::find(const LibvirtOptions& options) {
    GC_TRY(auto connection, libvirt::Connection::open(options.connect));
    GC_TRY(libvirt::Domain domain, libvirt::Domain::find(connection, options.domain));
    GC_TRY(const libvirt::Domain::State state, domain.state());
    // A VM that arrives paused says nothing by which its arrival could be known.
    if (!state.running)
        return fail(ErrorKind::unsupported, "expected a domain that is running, '{}' is {}; {}",
                    domain.name(), state.paused ? "paused" : "not",
                    state.paused ? "resume it, or migrate it by 'virsh migrate'" : "start it");
    return Vm{std::move(connection), std::move(domain)};
}

Result<LibvirtSource::Parts> LibvirtSource::parts_of(Vm vm) {
    const libvirt::Domain& domain = vm.domain;
    GC_TRY(const pid_t pid, domain.qemu());
    GC_TRY(qmp::Client qmp,
           qmp::Client::over(
               [domain](const std::string& command) { return domain.monitor_command(command); },
               pid, fmt::format("the monitor of '{}'", domain.name())));
    GC_TRY(Waker news, Waker::create());
    GC_TRY(Waker moved, Waker::create());
    auto told = std::make_shared<Told>(std::move(news), std::move(moved));
    GC_CHECK(
        vm.connection->subscribe([told, uuid = domain.uuid()](const libvirt::DomainEvent& event) {
            using What = libvirt::DomainEvent::What;
            if (event.uuid != uuid)
                return;
            if (event.what == What::stopped && event.by_migration)
                told->moved.signal();
            if (event.what == What::suspended || event.what == What::resumed)
                told->news.post({{event.what == What::suspended ? SourceNews::What::stopped
                                                                : SourceNews::What::resumed,
                                  std::chrono::steady_clock::now(),
                                  {}},
                                 event.by_migration});
        }));
    return Parts{std::move(vm), pid, std::move(qmp), std::move(told)};
}

Result<std::unique_ptr<LibvirtSource>> LibvirtSource::open(const LibvirtOptions& options) {
    GC_TRY(Vm vm, find(options));
    GC_TRY(Parts parts, parts_of(std::move(vm)));
    auto source = std::unique_ptr<LibvirtSource>(new LibvirtSource(std::move(parts), options));
    GC_CHECK(source->check());
    return source;
}

Result<UniqueFd> LibvirtSource::start(Pace pace) {
    GC_CHECK(listen(id_));
    job_ = libvirt::MigrationJob::start(
        domain_,
        {.destination_uri = options_.destination_uri,
         .migrate_uri = uri(),
         .mib_per_s = pace == Pace::held ? held : 0,
         .persistent = options_.persistent,
         .undefine_source = options_.undefine_source,
         .unsafe = options_.unsafe},
        [told = told_](const Result<void>& result) {
            if (!result)
                told->news.post({{SourceNews::What::failed, std::chrono::steady_clock::now(),
                                  result.error().message},
                                 false});
        });
    auto stream = accept();
    if (!stream) {
        (void)domain_.abort_job();
        (void)job_->result(abort_timeout);
        stream.error().kind = ErrorKind::unsupported;
        return stream;
    }
    // gcctl decides when to switch over; best effort, as it may be over already.
    (void)domain_.set_max_downtime(1ms);
    return stream;
}

Result<void> LibvirtSource::listen(const std::string& name) {
    GC_TRY(libvirt::MigrationSocket socket,
           libvirt::MigrationSocket::make(name, {::geteuid(), ::getegid()}));
    socket_.emplace(std::move(socket));
    GC_TRY(const libvirt::QemuUser user, connection_->qemu_user());
    GC_TRY(listener_, socket_->listen(domain_.name(), user));
    return {};
}

Result<UniqueFd> LibvirtSource::accept() const {
    for (const Deadline deadline(start_timeout); !deadline.expired();) {
        if (wait_readable(listener(), look_interval).value_or(false))
            return accept_stream();
        if (const auto ended = job_->result(0ms))
            return fail(ErrorKind::unsupported, "libvirt did not begin the migration: {}",
                        reason_of(*ended));
    }
    return fail(ErrorKind::io, "libvirt did not begin the migration within {} s",
                std::chrono::seconds(start_timeout).count());
}

Result<UniqueFd> LibvirtSource::accept_stream() const {
    GC_TRY(UniqueFd accepted, accept_one(listener(), 0ms));
    GC_TRY(const libvirt::SocketPeer peer, libvirt::peer_of(accepted.get()));
    if (peer.uid != 0 && peer.uid != ::geteuid() && peer.pid != pid())
        return fail(ErrorKind::io,
                    "expected libvirtd to connect, or the VM's QEMU (process {}); process {} of "
                    "user {} did",
                    pid(), peer.pid, peer.uid);
    return accepted;
}

Result<PrecopyProgress> LibvirtSource::precopy_progress() {
    GC_TRY(const libvirt::JobMemory memory, domain_.job_memory());
    return PrecopyProgress{memory.iteration, memory.remaining_bytes};
}

Result<void> LibvirtSource::hold() {
    return domain_.set_max_speed(held);
}

std::uint64_t LibvirtSource::max_in_flight() const {
    // Two windows: what was sent is acknowledged a window later.
    return 2 * (held << 20) / qmp::windows_per_s;
}

Result<bool> LibvirtSource::switch_over(transfer::DataPlane& /*data*/) {
    if (!switch_over_by_)
        switch_over_by_ = switch_over_timeout;
    auto started = domain_.start_postcopy();
    if (started)
        return true;
    // libvirt may not have begun to watch its migration, or QEMU may not have set it up.
    return switch_over_by_->expired() ? Result<bool>(Unexpected(started.error())) : false;
}

Result<std::optional<SourceNews>> LibvirtSource::next_news(std::chrono::milliseconds timeout) {
    auto next = told_->news.take();
    if (!next && timeout.count() > 0 && wait_readable(told_->news.fd(), timeout))
        next = told_->news.take();
    if (!next)
        return std::nullopt;
    by_migration_ = next->by_migration;
    return std::move(next->news);
}

Result<bool> LibvirtSource::stopped_for_migration() {
    if (by_migration_)
        return true;
    GC_TRY(const libvirt::Domain::State state, domain_.state());
    set_was_running(state.running);
    return false;
}

bool LibvirtSource::completed_by_manager(Deadline deadline) const {
    const auto ended = job_ ? job_->result(deadline) : std::nullopt;
    return ended && *ended;
}

Result<void> LibvirtSource::finish(transfer::DataPlane& data, bool /*converged*/) {
    const auto ended = job_->result(confirm_timeout);
    data.close_source();
    socket_.reset();
    if (ended && *ended)
        return {};
    return Unexpected(not_completed(ended ? reason_of(*ended) : "it has not ended"));
}

Error LibvirtSource::not_completed(std::string_view why) const {
    return {ErrorKind::needs_operator,
            fmt::format("all of the VM has arrived, but libvirt did not complete the migration: "
                        "{}; see 'virsh domstate --reason {}' at both hosts",
                        why, domain_.name())};
}

bool LibvirtSource::moved(Deadline deadline) const {
    return wait_readable(told_->moved.fd(), deadline).value_or(false);
}

Result<void> LibvirtSource::take_back(transfer::DataPlane* data, bool /*switched_over*/) {
    const auto aborted = domain_.abort_job();
    // A job that cannot be aborted ends with its stream.
    if (data != nullptr)
        data->close_source();
    const bool ended = !job_ || job_->result(abort_timeout).has_value();
    socket_.reset();
    if (!ended)
        return fail(ErrorKind::io, "libvirt did not end its migration{}",
                    aborted ? "" : ": " + aborted.error().message);
    return check_taken_back();
}

Result<void> LibvirtSource::check_taken_back() const {
    GC_TRY(const libvirt::Domain::State state, domain_.state());
    if (state.running || (state.paused && !was_running()))
        return {};
    return fail(ErrorKind::io, "libvirt ended its migration and does not run the VM");
}

std::string LibvirtSource::how_to_take_back(bool switched_over) const {
    if (!switched_over)
        return fmt::format("see 'virsh domstate --reason {}' at both hosts", domain_.name());
    return fmt::format("libvirt has no way back, but all of the VM is here; to let it run on, type "
                       "here: {}",
                       fmt::join(libvirt::take_back_lines(domain_.name()), "; "));
}

std::string LibvirtSource::finish_line() const {
    return fmt::format("virsh migrate --live --p2p --postcopy --postcopy-resume {} {}",
                       domain_.name(), options_.destination_uri);
}

std::string LibvirtSource::how_to_continue() {
    return fmt::format(
        "the VM was handed over: libvirt has half of it on each host, so destroy neither domain. "
        "If 'virsh domstate --reason {}' says 'post-copy failed' at both, type here: {}",
        domain_.name(), finish_line());
}

}  // namespace gc::migrate
