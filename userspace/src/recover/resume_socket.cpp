// SPDX-License-Identifier: GPL-2.0-or-later
#include "recover/resume_socket.h"

#include "qmp/migration.h"
#include "util/process_owner.h"
#include "util/socket.h"

#include <unistd.h>

namespace gc::recover {
namespace {

using namespace std::chrono_literals;

constexpr auto connect_timeout = 10s;

}  // namespace

Result<ResumeSocket> ResumeSocket::make(const std::string& domain, pid_t qemu) {
    GC_TRY(const ProcessOwner owner, owner_of_process(qemu));
    GC_TRY(auto socket, libvirt::MigrationSocket::make(fmt::format("resume-{}", qemu),
                                                       {::geteuid(), ::getegid()}));
    GC_TRY(UniqueFd listener, socket.listen(domain, {owner.uid, owner.gid}));
    std::string uri = "unix:" + socket.path(domain);
    return ResumeSocket(std::move(socket), std::move(uri), std::move(listener), qemu);
}

Result<UniqueFd> ResumeSocket::resume(qmp::Client& source) const {
    GC_CHECK(qmp::migrate_resume(source, uri_));
    GC_TRY(UniqueFd stream, accept_one(listener_.get(), connect_timeout));
    GC_TRY(const libvirt::SocketPeer peer, libvirt::peer_of(stream.get()));
    if (peer.pid != qemu_)
        return fail(ErrorKind::io, "expected the VM's QEMU (process {}) to connect, process {} did",
                    qemu_, peer.pid);
    return stream;
}

}  // namespace gc::recover
