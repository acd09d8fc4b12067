// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/pins.h"

#include "util/whole_file.h"

#include <algorithm>
#include <bpf/bpf.h>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

namespace gc::policy {
namespace {

namespace fs = std::filesystem;

std::string file_system() {
    const char* said = std::getenv("GC_BPFFS");
    return said != nullptr && *said != '\0' ? said : "/sys/fs/bpf";
}

std::string directory() {
    return file_system() + "/guidecopy";
}

/// The BPF file system does not allow dots, but VLAN names usually contain one.
std::string encode(std::string_view device) {
    std::string name;
    for (const char letter : device)
        if (letter == '.' || letter == '%')
            name += fmt::format("%{:02x}", static_cast<unsigned>(letter));
        else
            name += letter;
    return name;
}

std::string decode(std::string_view name) {
    std::string device;
    for (std::size_t at = 0; at < name.size(); ++at) {
        unsigned code = 0;
        const std::string_view digits = name.substr(at + 1, 2);
        if (name[at] == '%' && digits.size() == 2 &&
            std::from_chars(digits.data(), digits.data() + 2, code, 16).ec == std::errc{}) {
            device += static_cast<char>(code);
            at += 2;
        } else {
            device += name[at];
        }
    }
    return device;
}

Result<std::string> path_of(const std::string& device) {
    GC_TRY(const std::uint64_t netns, own_netns());
    return fmt::format("{}/{}-{}", directory(), netns, encode(device));
}

Result<void> check_file_system() {
    struct statfs found {};
    if (::statfs(file_system().c_str(), &found) == 0 && found.f_type == BPF_FS_MAGIC)
        return {};
    return fail(ErrorKind::unsupported, "{0} is not a BPF file system: mount -t bpf bpf {0}",
                file_system());
}

Result<void> make_directory(const std::string& path) {
    if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST)
        return {};
    if (errno == EACCES || errno == EPERM)
        return fail(ErrorKind::unsupported, "{}: {}; run gcctl with sudo", path,
                    std::strerror(errno));
    return fail_errno(errno, "create " + path);
}

/// @return an empty descriptor if the path does not exist
Result<UniqueFd> open_directory(const std::string& path) {
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd && errno == EACCES)
        return fail(ErrorKind::unsupported, "{}: {}; run gcctl with sudo", path,
                    std::strerror(errno));
    if (!fd && errno != ENOENT)
        return fail_errno(errno, "open " + path);
    return fd;
}

}  // namespace

Result<Pins> Pins::make(const std::string& device) {
    GC_CHECK(check_file_system());
    GC_CHECK(make_directory(directory()));
    GC_TRY(const std::string path, path_of(device));
    GC_CHECK(make_directory(path));
    GC_TRY(UniqueFd fd, open_directory(path));
    if (!fd)
        return fail(ErrorKind::io, "{}: another process removed it at once; try again", path);
    return Pins(path, std::move(fd));
}

Result<std::optional<UniqueFd>> Pins::try_turn() {
    GC_CHECK(check_file_system());
    GC_CHECK(make_directory(directory()));
    GC_TRY(UniqueFd fd, open_directory(directory()));
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0)
        return fd;
    if (errno == EWOULDBLOCK)
        return std::nullopt;
    return fail_errno(errno, "lock " + directory());
}

Result<std::optional<Pins>> Pins::find(const std::string& device) {
    GC_TRY(const std::string path, path_of(device));
    return open({0, device, path});
}

Result<std::optional<Pins>> Pins::open(const Entry& entry) {
    GC_TRY(UniqueFd fd, open_directory(entry.path));
    if (!fd)
        return std::nullopt;
    return Pins(entry.path, std::move(fd));
}

Result<std::vector<Pins::Entry>> Pins::all() {
    std::vector<Entry> found;
    std::error_code error;
    fs::directory_iterator entries(directory(), error);
    if (error == std::errc::permission_denied)
        return fail(ErrorKind::unsupported, "{}: {}; run gcctl with sudo", directory(),
                    error.message());
    for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
        const std::string name = entries->path().filename();
        const auto dash = name.find('-');
        std::uint64_t netns = 0;
        if (dash != std::string::npos &&
            std::from_chars(name.data(), name.data() + dash, netns).ptr == name.data() + dash)
            found.push_back({netns, decode(name.substr(dash + 1)), entries->path()});
    }
    std::ranges::sort(found, {}, &Entry::path);
    return found;
}

Result<bool> Pins::try_lock(Lock kind) {
    const int operation = kind == Lock::shared ? LOCK_SH : LOCK_EX;
    if (::flock(fd_.get(), operation | LOCK_NB) == 0)
        return true;
    if (errno == EWOULDBLOCK)
        return false;
    return fail_errno(errno, "lock " + path_);
}

bool Pins::current() const {
    struct stat own {};
    struct stat named {};
    return ::fstat(fd_.get(), &own) == 0 && ::stat(path_.c_str(), &named) == 0 &&
           own.st_ino == named.st_ino && own.st_dev == named.st_dev;
}

Result<void> Pins::pin(int object, const std::string& name) {
    if (::bpf_obj_pin(object, at(name).c_str()) < 0)
        return fail_errno(errno, "pin " + at(name));
    return {};
}

UniqueFd Pins::get(const std::string& name) const {
    const int fd = ::bpf_obj_get(at(name).c_str());
    return UniqueFd(fd < 0 ? -1 : fd);
}

Result<void> Pins::unpin(const std::string& name) {
    if (::unlink(at(name).c_str()) < 0 && errno != ENOENT)
        return fail_errno(errno, "unpin " + at(name));
    return {};
}

Result<void> Pins::rename(const std::string& from, const std::string& to) {
    if (::rename(at(from).c_str(), at(to).c_str()) < 0)
        return fail_errno(errno, "rename " + at(from));
    return {};
}

Result<void> Pins::remove(const std::string& last) {
    std::error_code error;
    std::vector<std::string> names;
    for (fs::directory_iterator entries(path_, error);
         !error && entries != fs::directory_iterator(); entries.increment(error))
        names.push_back(entries->path().filename());
    std::stable_partition(names.begin(), names.end(),
                          [&](const std::string& name) { return name != last; });
    for (const std::string& name : names)
        GC_CHECK(unpin(name));
    if (::rmdir(path_.c_str()) < 0 && errno != ENOENT)
        return fail_errno(errno, "remove " + path_);
    return {};
}

Unexpected no_policy_on(const std::string& device) {
    return fail(ErrorKind::unsupported,
                "no policy on {}; attach one with gcctl policy attach --dev {}", device, device);
}

Result<std::uint64_t> own_netns() {
    struct stat found {};
    if (::stat("/proc/thread-self/ns/net", &found) < 0)
        return fail_errno(errno, "stat /proc/thread-self/ns/net");
    return found.st_ino;
}

bool netns_exists(std::uint64_t inode) {
    const std::string name = fmt::format("net:[{}]", inode);
    const auto mounts = read_whole_file("/proc/self/mountinfo");
    if (mounts && mounts->find(name) != std::string::npos)
        return true;
    std::error_code error;
    for (fs::directory_iterator entries("/proc", error);
         !error && entries != fs::directory_iterator(); entries.increment(error)) {
        struct stat found {};
        if (::stat((entries->path() / "ns/net").c_str(), &found) == 0 && found.st_ino == inode)
            return true;
    }
    return false;
}

}  // namespace gc::policy
