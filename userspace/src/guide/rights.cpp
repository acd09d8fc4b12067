// SPDX-License-Identifier: GPL-2.0-or-later
#include "guide/rights.h"

#include "util/cgroup.h"
#include "util/pidfd.h"
#include "util/text.h"
#include "util/whole_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <sched.h>
#include <sstream>
#include <sys/stat.h>
#include <unistd.h>

namespace gc::guide {
namespace {

Unexpected refuse_right(std::string_view right, std::string_view why) {
    return fail(ErrorKind::unsupported,
                "the guide cannot be given the source QEMU's {}: {}; migrate with --guide off",
                right, why);
}

/// /proc/PID/status by key.
using Status = std::map<std::string, std::string, std::less<>>;

Result<Status> status_of(const std::string& process) {
    GC_TRY(const std::string text, read_whole_file(process + "/status"));
    Status status;
    for (const std::string& line : lines_of(text))
        if (const auto colon = line.find(':'); colon != std::string::npos)
            status[line.substr(0, colon)] = line.substr(colon + 1);
    return status;
}

std::vector<unsigned> numbers(const Status& status, std::string_view key) {
    std::vector<unsigned> values;
    const auto found = status.find(key);
    std::istringstream words(found == status.end() ? "" : found->second);
    for (unsigned value = 0; words >> value;)
        values.push_back(value);
    return values;
}

std::string identity_in(const Status& status) {
    std::string text;
    for (const char* key : {"Uid", "Gid", "Groups", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp"})
        if (const auto found = status.find(key); found != status.end())
            text += found->second + "\n";
    return text;
}

/// "Uid: real effective saved file". A QEMU has four times the same; a program that is changing its
/// user has not.
Result<unsigned> one_id(const Status& status, const char* key, pid_t pid) {
    const std::vector<unsigned> ids = numbers(status, key);
    if (ids.size() != 4)
        return fail(ErrorKind::protocol, "/proc/{}/status has no {} of four ids", pid, key);
    if (std::any_of(ids.begin(), ids.end(), [&](unsigned id) { return id != ids[0]; }))
        return refuse_right(
            "user", fmt::format("its {}s differ (real {}, effective {})", key, ids[0], ids[1]));
    return ids[0];
}

/// The identity of a namespace: "mnt:[4026531832]". Empty if the kernel does not have that kind.
Result<std::string> namespace_of(const std::string& process, const char* kind) {
    std::array<char, 64> target{};
    const auto path = fmt::format("{}/ns/{}", process, kind);
    if (::readlink(path.c_str(), target.data(), target.size() - 1) >= 0)
        return std::string(target.data());
    return errno == ENOENT ? Result<std::string>{} : fail_errno(errno, "read " + path);
}

struct Kind {
    const char* name;
    int flag;
};
// The network's is not among them: a guide has one of its own.
constexpr std::array<Kind, 7> kinds = {{{"user", CLONE_NEWUSER},
                                        {"mnt", CLONE_NEWNS},
                                        {"pid", CLONE_NEWPID},
                                        {"ipc", CLONE_NEWIPC},
                                        {"uts", CLONE_NEWUTS},
                                        {"cgroup", CLONE_NEWCGROUP},
                                        {"time", 0x80 /* CLONE_NEWTIME */}}};

Result<void> find_namespaces(Rights& rights, const std::string& process) {
    for (const Kind& kind : kinds) {
        GC_TRY(const std::string own, namespace_of("/proc/self", kind.name));
        GC_TRY(const std::string theirs, namespace_of(process, kind.name));
        if (own == theirs)
            continue;
        if (kind.flag == CLONE_NEWPID)
            rights.pid_namespace = true;  // joined by the parent: it holds for children only
        else
            rights.namespaces |= kind.flag;
    }
    struct stat own {};
    struct stat theirs {};
    const auto root = process + "/root";
    UniqueFd fd(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!fd || ::stat("/", &own) != 0 || ::fstat(fd.get(), &theirs) != 0)
        return fail_errno(errno, "open " + root);
    if ((rights.namespaces & CLONE_NEWNS) != 0 || own.st_dev != theirs.st_dev ||
        own.st_ino != theirs.st_ino)
        rights.root = std::move(fd);
    return {};
}

Result<void> find_user(Rights& rights, const Status& status, const std::string& process,
                       pid_t pid) {
    GC_TRY(rights.uid, one_id(status, "Uid", pid));
    GC_TRY(rights.gid, one_id(status, "Gid", pid));
    rights.groups = numbers(status, "Groups");
    std::vector<gid_t> own(static_cast<std::size_t>(std::max(0, ::getgroups(0, nullptr))));
    if (::getgroups(static_cast<int>(own.size()), own.data()) < 0)
        return fail_errno(errno, "getgroups");
    std::sort(own.begin(), own.end());
    std::sort(rights.groups.begin(), rights.groups.end());
    rights.other_user = own != rights.groups || ::geteuid() == 0 || rights.uid != ::geteuid() ||
                        rights.uid != ::getuid() || rights.gid != ::getegid() ||
                        rights.gid != ::getgid();
    if ((rights.namespaces & CLONE_NEWUSER) == 0)
        return {};
    rights.other_user = true;
    GC_TRY(const std::string uids, read_whole_file(process + "/uid_map"));
    GC_TRY(const std::string gids, read_whole_file(process + "/gid_map"));
    GC_TRY(rights.uid, inside_user_namespace(uids, rights.uid));
    GC_TRY(rights.gid, inside_user_namespace(gids, rights.gid));
    return {};
}

/// A filter cannot be copied. QEMU installs one by itself, and so does the guide.
Result<void> check_filters(const Status& status, const std::string& process) {
    GC_TRY(const Status own, status_of("/proc/self"));
    const auto count = [](const Status& of) {
        const std::vector<unsigned> filters = numbers(of, "Seccomp_filters");
        return filters.empty() ? 0 : filters[0];
    };
    GC_TRY(const std::string arguments, read_whole_file(process + "/cmdline"));
    const bool sandbox = arguments.find(std::string_view("-sandbox\0", 9)) != std::string::npos;
    if (count(status) > count(own) + (sandbox ? 1 : 0))
        return refuse_right("seccomp filter", "it was installed by whoever started QEMU, such as a "
                                              "container runtime");
    return {};
}

std::string trimmed(std::string text) {
    text.resize(std::strlen(text.c_str()));  // some end in a zero byte
    while (!text.empty() && text.back() == '\n')
        text.pop_back();
    return text;
}

Result<void> find_label(Rights& rights, const std::string& process) {
    struct Place {
        const char* directory;
        bool apparmor;
    };
    for (const Place& place : {Place{"attr/apparmor", true}, Place{"attr", false}}) {
        const auto theirs = read_whole_file(fmt::format("{}/{}/current", process, place.directory));
        const auto own = read_whole_file(fmt::format("/proc/self/{}/current", place.directory));
        if (!theirs || !own) {
            // EINVAL: no LSM of this kernel has labels.
            const int error = theirs ? own.error().error_number : theirs.error().error_number;
            if (error == ENOENT || error == EINVAL)
                continue;
            return refuse_right("LSM label", theirs ? own.error().message : theirs.error().message);
        }
        // Before 5.1 AppArmor had no directory of its own.
        const bool apparmor = place.apparmor || trimmed(*theirs).ends_with(')');
        rights.label_file = fmt::format("{}/exec", place.directory);
        rights.label = label_request(trimmed(*own), trimmed(*theirs), apparmor);
        rights.sandbox_refuses = !apparmor && !rights.label.empty();
        return {};
    }
    return {};
}

Result<void> find_cgroups(Rights& rights, const std::string& process) {
    const auto own = read_whole_file("/proc/self/cgroup");
    const auto theirs = read_whole_file(process + "/cgroup");
    if (!own || !theirs)
        return {};  // the kernel has no cgroups
    const std::vector<CgroupPlace> places = cgroups_besides(*own, *theirs);
    if (places.empty())
        return {};
    GC_TRY(const std::string mounts, read_whole_file("/proc/self/mountinfo"));
    for (const CgroupPlace& place : places) {
        const Result<std::string> directory = cgroup_directory(mounts, place);
        if (!directory)
            return refuse_right("cgroup", directory.error().message);
        UniqueFd procs(::open((*directory + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
        if (!procs)
            return refuse_right("cgroup", fmt::format("open {}/cgroup.procs: {}", *directory,
                                                      std::strerror(errno)));
        rights.cgroups.push_back(std::move(procs));
    }
    return {};
}

/// "unlimited", or a number.
rlim_t parse_limit(const std::string& text) {
    return text == "unlimited" ? RLIM_INFINITY : std::strtoull(text.c_str(), nullptr, 10);
}

/// From /proc/PID/limits: prlimit(2) wants CAP_SYS_RESOURCE for another user's process.
Result<void> find_limits(Rights& rights, const std::string& process) {
    GC_TRY(const std::string text, read_whole_file(process + "/limits"));
    std::vector<std::string> lines = lines_of(text);
    // A heading, then one line for each resource in the order of their numbers, with the values
    // from column 26 on (proc_pid_limits in fs/proc/base.c, 6.12).
    if (lines.size() != rights.limits.size() + 1)
        return fail(ErrorKind::protocol, "{}/limits has {} lines, expected {}", process,
                    lines.size(), rights.limits.size() + 1);
    for (std::size_t i = 0; i < rights.limits.size(); ++i) {
        std::istringstream words(lines[i + 1].size() > 26 ? lines[i + 1].substr(26) : "");
        std::string soft;
        std::string hard;
        rlimit own{};
        if (!(words >> soft >> hard) || ::getrlimit(static_cast<__rlimit_resource>(i), &own) != 0)
            return fail(ErrorKind::protocol, "{}/limits: unexpected line '{}'", process,
                        lines[i + 1]);
        // gcctl may be unable to raise its own.
        rights.limits[i].rlim_max = std::min(parse_limit(hard), own.rlim_max);
        rights.limits[i].rlim_cur = std::min(parse_limit(soft), rights.limits[i].rlim_max);
    }
    // A core dump of the guide would hold the guest's memory.
    rights.limits[RLIMIT_CORE] = {0, 0};
    return {};
}

}  // namespace

std::string label_request(std::string_view own, std::string_view wanted, bool apparmor) {
    // "kernel" is what SELinux calls every process before it has a policy.
    if (wanted.empty() || wanted == own || wanted == "unconfined" || wanted == "kernel")
        return {};
    if (!apparmor)
        return std::string(wanted);
    // "libvirt-1234 (enforce)"
    const auto mode = wanted.ends_with(')') ? wanted.rfind(" (") : std::string_view::npos;
    return fmt::format("exec {}", wanted.substr(0, mode));
}

Result<unsigned> inside_user_namespace(std::string_view map, unsigned outside) {
    for (const std::string& line : lines_of(map)) {
        std::istringstream words(line);
        std::uint64_t inside = 0;
        std::uint64_t first = 0;
        std::uint64_t count = 0;
        if (words >> inside >> first >> count && outside >= first && outside - first < count)
            return static_cast<unsigned>(inside + (outside - first));
    }
    return refuse_right("user namespace",
                        fmt::format("user or group {} has no name in it", outside));
}

Result<Rights> Rights::of(pid_t source) {
    const auto process = fmt::format("/proc/{}", source);
    Rights rights;
    rights.source_ = source;
    // First: what is read below is the same process's if it still runs at the end.
    rights.pidfd = UniqueFd(::pidfd_open(source, 0));
    if (!rights.pidfd)
        return fail_errno(errno, fmt::format("open process {}", source));
    GC_TRY(const Status status, status_of(process));
    rights.identity_ = identity_in(status);
    GC_CHECK(find_namespaces(rights, process));
    GC_CHECK(find_user(rights, status, process, source));
    GC_CHECK(check_filters(status, process));
    GC_CHECK(find_label(rights, process));
    GC_CHECK(find_cgroups(rights, process));
    GC_CHECK(find_limits(rights, process));
    return rights;
}

Result<void> Rights::check_unchanged() const {
    GC_TRY(const Status status, status_of(fmt::format("/proc/{}", source_)));
    if (::pidfd_send_signal(pidfd.get(), 0, nullptr, 0) != 0)
        return fail_errno(errno, fmt::format("look for process {}", source_));
    return identity_in(status) == identity_
               ? Result<void>{}
               : refuse_right("user and groups", "it is changing them just now");
}

Result<void> Rights::check_sandbox(pid_t guide) {
    GC_TRY(const Status status, status_of(fmt::format("/proc/{}", guide)));
    if (numbers(status, "NoNewPrivs") != std::vector<unsigned>{1})
        return fail(ErrorKind::unsupported,
                    "the guide's QEMU did not set no_new_privs with its -sandbox; migrate with "
                    "--guide off");
    return {};
}

}  // namespace gc::guide
