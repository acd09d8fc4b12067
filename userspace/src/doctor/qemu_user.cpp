// SPDX-License-Identifier: GPL-2.0-or-later
#include "doctor/qemu_user.h"

#include "doctor/child.h"
#include "util/process_owner.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/core.h>
#include <grp.h>
#include <linux/userfaultfd.h>
#include <pwd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace gc::doctor {

namespace {

// From linux/userfaultfd.h since 6.1.
constexpr unsigned long new_userfaultfd = _IO(0xAA, 0x00);

QemuUser user_of(const passwd& entry) {
    return {.name = entry.pw_name, .uid = entry.pw_uid, .gid = entry.pw_gid};
}

QemuUser user_with_id(uid_t uid) {
    if (const passwd* entry = ::getpwuid(uid))  // NOLINT(concurrency-mt-unsafe): one thread
        return user_of(*entry);
    return {.name = fmt::format("user {}", uid), .uid = uid, .gid = uid};
}

/// @return what failed, or nothing
std::string become(const QemuUser& user) {
    if (user.uid == ::geteuid())
        return "";
    if (::initgroups(user.name.c_str(), user.gid) < 0 ||
        ::setresgid(user.gid, user.gid, user.gid) < 0 ||
        ::setresuid(user.uid, user.uid, user.uid) < 0)
        return std::strerror(errno);  // NOLINT(concurrency-mt-unsafe): one thread
    return "";
}

bool is_usable(const UniqueFd& fd) {
    uffdio_api api{};
    api.api = UFFD_API;
    return fd && ::ioctl(fd.get(), UFFDIO_API, &api) == 0;
}

std::string try_here(const std::string& device) {
    const bool system_call =
        is_usable(UniqueFd(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC))));
    const UniqueFd opened(::open(device.c_str(), O_RDWR | O_CLOEXEC));
    const bool by_device =
        opened && is_usable(UniqueFd(::ioctl(opened.get(), new_userfaultfd, O_CLOEXEC)));
    return fmt::format("{:d}{:d}", system_call, by_device);
}

}  // namespace

Result<QemuUser> find_qemu_user(const std::string& name) {
    // NOLINTBEGIN(concurrency-mt-unsafe): one thread
    if (!name.empty()) {
        if (const passwd* entry = ::getpwnam(name.c_str()))
            return user_of(*entry);
        return fail(ErrorKind::usage, "no user '{}' on this host", name);
    }
    for (const char* libvirts : {"libvirt-qemu", "qemu"})
        if (const passwd* entry = ::getpwnam(libvirts))
            return user_of(*entry);
    // NOLINTEND(concurrency-mt-unsafe)
    return user_with_id(::geteuid());
}

Result<QemuUser> user_of_process(pid_t pid) {
    GC_TRY(const ProcessOwner owner, owner_of_process(pid));
    return user_with_id(owner.uid);
}

Result<UserfaultfdAccess> try_userfaultfd(const Host& host, const QemuUser& user) {
    constexpr auto limit = std::chrono::seconds(5);
    GC_TRY(const std::string answer, in_child(
                                         [&] {
                                             if (std::string failed = become(user); !failed.empty())
                                                 return failed;
                                             return try_here(host.path("/dev/userfaultfd"));
                                         },
                                         limit));
    if (answer.size() != 2)
        return fail(ErrorKind::io, "cannot become {}: {}", user.name, answer);
    return UserfaultfdAccess{.system_call = answer[0] == '1', .device = answer[1] == '1'};
}

}  // namespace gc::doctor
