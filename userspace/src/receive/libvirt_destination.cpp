// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/libvirt_destination.h"

#include "libvirt/domain.h"
#include "util/pidfd.h"
#include "util/poll.h"
#include "util/whole_file.h"

#include <sys/stat.h>

namespace gc::receive {
namespace {

using namespace std::chrono_literals;

/// libvirt has made QEMU listen before the source says that it begins.
constexpr auto connect_timeout = 10s;
constexpr auto look_interval = 10ms;
/// For a QEMU whose stream has ended.
constexpr auto qemu_end_timeout = 10s;
/// The source sends ping 3 behind the devices, in the package, and RUN behind that ping; 10.2 and
/// later one of 0x42, too (postcopy_start() in migration/migration.c). QEMU answers a ping before
/// it reads on, so without these pongs it has not come to RUN.
constexpr std::uint32_t last_ping_before_state = 2;

/// Whether a file's mode lets the user read and write it.
bool may_use(const char* path, const libvirt::QemuUser& user) {
    struct stat status {};
    if (::stat(path, &status) != 0)
        return false;
    const mode_t shift = status.st_uid == user.uid ? 6 : status.st_gid == user.gid ? 3 : 0;
    return (status.st_mode >> shift & 6) == 6;
}

/// Post-copy needs userfaultfd for faults of the kernel, too.
Result<void> check_userfaultfd(const libvirt::QemuUser& user,
                               const libvirt::Connection::Version& qemu) {
    if (user.uid == 0)
        return {};
    const auto allowed = read_whole_file("/proc/sys/vm/unprivileged_userfaultfd");
    if (allowed && allowed->starts_with('1'))
        return {};
    // From 8.0 on QEMU opens the device first. That libvirt lets it is for qemu.conf to say.
    if (qemu.major >= 8 && may_use("/dev/userfaultfd", user))
        return {};
    return fail(ErrorKind::unsupported,
                "libvirt's QEMUs run as user {} here, which has no userfaultfd, so they refuse "
                "post-copy; type: sysctl -w vm.unprivileged_userfaultfd=1 (and write "
                "'vm.unprivileged_userfaultfd = 1' to a file in /etc/sysctl.d to keep it)",
                user.uid);
}

/// What follows "-uuid" on a QEMU's command line.
std::string uuid_of(pid_t pid) {
    using namespace std::string_literals;
    const auto command = read_whole_file(fmt::format("/proc/{}/cmdline", pid), 1 << 20);
    const std::string option = "\0-uuid\0"s;
    const std::size_t found = command ? command->find(option) : std::string::npos;
    return found == std::string::npos ? "" : std::string(command->c_str() + found + option.size());
}

}  // namespace

Result<std::unique_ptr<LibvirtDestination>> LibvirtDestination::prepare(const std::string& uri,
                                                                        const std::string& socket) {
    GC_TRY(auto connection, libvirt::Connection::open(uri));
    GC_TRY(const libvirt::QemuUser user, connection->qemu_user());
    GC_TRY(const auto version, connection->qemu_version());
    GC_CHECK(check_userfaultfd(user, version));
    GC_TRY(Waker waker, Waker::create());
    auto news = std::make_shared<Mail>(std::move(waker));
    GC_CHECK(connection->subscribe([news](const libvirt::DomainEvent& event) {
        using What = libvirt::DomainEvent::What;
        if (event.what == What::resumed)
            news->post({event.uuid, DestinationNews{DestinationNews::What::resumed, {}}});
        else if (event.what == What::stopped)
            news->post({event.uuid, std::nullopt});
    }));
    auto destination = std::unique_ptr<LibvirtDestination>(new LibvirtDestination(
        std::move(connection), user,
        fmt::format("{}.{}.{}", version.major, version.minor, version.micro), std::move(news)));
    if (!socket.empty())
        GC_CHECK(destination->expect(socket));
    return destination;
}

Result<void> LibvirtDestination::expect(const std::string& id) {
    GC_TRY(libvirt::MigrationSocket socket, libvirt::MigrationSocket::make(id, user_));
    sockets_.push_back(std::move(socket));
    return {};
}

Result<libvirt::MigrationSocket::Listener> LibvirtDestination::await_listener() const {
    for (const Deadline deadline(connect_timeout);;) {
        for (const libvirt::MigrationSocket& socket : sockets_) {
            auto listener = socket.connect(look_interval);
            if (listener || deadline.expired())
                return listener;
        }
    }
}

Result<void> LibvirtDestination::check_listener(pid_t pid) const {
    // A QEMU of the same user that was broken into might listen in the place of the right one.
    const auto expected = [&]() -> Result<bool> {
        GC_TRY(const auto domain, libvirt::Domain::find(connection_, uuid_));
        GC_TRY(const auto state, domain.state());
        GC_TRY(const pid_t qemu, domain.qemu());
        return state.migrating && qemu == pid;
    }();
    return expected && *expected
               ? Result<void>{}
               : fail(ErrorKind::io,
                      "process {}, which listens for the migration, is not the "
                      "QEMU of a VM that arrives here{}{}",
                      pid, expected ? "" : ": ", expected ? "" : expected.error().message);
}

Result<UniqueFd> LibvirtDestination::connect() {
    GC_TRY(auto listener, await_listener());
    pid_ = listener.pid;
    process_ = UniqueFd(::pidfd_open(pid_, 0));
    uuid_ = uuid_of(pid_);
    GC_CHECK(check_listener(pid_));
    output_ = qmp::ErrorOutput::of(listener.pid);
    return std::move(listener.fd);
}

void LibvirtDestination::connected() {
    // With postcopy-preempt QEMU waits for a second channel before it ends, though all pages come
    // by the first. Without, nobody listens any more, or the connection is closed.
    for (const libvirt::MigrationSocket& socket : sockets_)
        if (auto again = socket.connect(0ms); again && again->pid == pid_)
            preempt_ = std::move(again->fd);
    sockets_.clear();
}

void LibvirtDestination::saw_return_path(std::span<const std::byte> bytes) {
    if (shut_)
        return;
    returned_buffer_.append(bytes);
    std::span<const std::byte> input = returned_buffer_.bytes();
    for (;;) {
        const auto message = returned_.next(input);
        if (!message || !*message)
            break;
        if (const auto* pong = std::get_if<stream::PongMessage>(&**message))
            may_have_state_ = may_have_state_ || pong->value > last_ping_before_state;
        if (const auto* shut = std::get_if<stream::ShutMessage>(&**message)) {
            shut_ = true;
            // One that fails to load the state says so before it ends, from 8.0 on.
            may_have_state_ = may_have_state_ || shut->status == 0;
            news_->post({"", DestinationNews{DestinationNews::What::status,
                                             shut->status == 0 ? "completed" : "failed"}});
        }
    }
    returned_buffer_.keep(input.size());
}

bool LibvirtDestination::ended_without_state(const ByteRelay& from_qemu) {
    if (may_have_state_ || !process_ ||
        !wait_readable(process_.get(), qemu_end_timeout).value_or(false))
        return false;
    // What QEMU has said before its end may still be on its way through the relay.
    return from_qemu.wait_end(qemu_end_timeout) && !may_have_state_;
}

Result<std::optional<DestinationNews>> LibvirtDestination::next_news() {
    while (auto news = news_->take()) {
        if (!news->uuid.empty() && news->uuid != uuid_)
            continue;  // another VM
        if (!news->news)
            return fail(ErrorKind::io, "libvirt ended it");
        return std::move(news->news);
    }
    return std::nullopt;
}

std::string LibvirtDestination::how_to_continue() const {
    return fmt::format("destroy neither domain. If 'virsh domstate --reason {0}' says 'post-copy "
                       "failed' at both hosts, type at the source: virsh migrate --live --p2p "
                       "--postcopy --postcopy-resume {0} URI (of this host's libvirt, as before)",
                       uuid_);
}

}  // namespace gc::receive
