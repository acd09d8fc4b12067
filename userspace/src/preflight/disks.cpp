// SPDX-License-Identifier: GPL-2.0-or-later
#include "preflight/disks.h"

#include "qmp/reply.h"
#include "util/file_locks.h"
#include "util/text.h"

#include <algorithm>
#include <array>
#include <linux/magic.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <sys/vfs.h>

namespace gc::preflight {
namespace {

using nlohmann::json;
using qmp::text_at;
using Disk = peer::VmFacts::Disk;

constexpr std::size_t max_name = 1000;

const json& member(const json& object, const char* name) {
    static const json none;
    const auto found = object.is_object() ? object.find(name) : object.end();
    return object.is_object() && found != object.end() ? *found : none;
}

/// File systems that two hosts can mount at once, and those that they cannot. Of others, such as
/// FUSE, nothing is said.
constexpr std::array<std::uint32_t, 9> shared_file_systems{
    NFS_SUPER_MAGIC,       CIFS_SUPER_MAGIC,        SMB2_SUPER_MAGIC,
    CEPH_SUPER_MAGIC,      OCFS2_SUPER_MAGIC,       AFS_SUPER_MAGIC,
    0x01161970 /* GFS2 */, 0x0BD00BD0 /* Lustre */, 0x47504653 /* GPFS */};
constexpr std::array<std::uint32_t, 6> local_file_systems{EXT4_SUPER_MAGIC,      XFS_SUPER_MAGIC,
                                                          BTRFS_SUPER_MAGIC,     TMPFS_MAGIC,
                                                          OVERLAYFS_SUPER_MAGIC, F2FS_SUPER_MAGIC};

std::string storage_of(const std::string& path) {
    struct statfs file_system {};
    if (::statfs(path.c_str(), &file_system) != 0)
        return {};
    const auto magic = static_cast<std::uint32_t>(file_system.f_type);
    if (std::ranges::find(shared_file_systems, magic) != shared_file_systems.end())
        return "shared";
    return std::ranges::find(local_file_systems, magic) != local_file_systems.end() ? "local" : "";
}

/// Some images have a name such as json:{"driver":"qcow2","file":{"driver":"file",...}}.
std::string plain_name(const std::string& image) {
    if (!image.starts_with("json:"))
        return image;
    json node = json::parse(image.substr(5), nullptr, false);
    for (int depth = 0; depth < 8 && node.is_object(); ++depth) {
        if (std::string name = text_at(node, "filename"); !name.empty())
            return name;
        node = json(member(node, "file"));
    }
    return image;
}

void look_at_file(Disk& disk, pid_t process) {
    const std::string where = disk.image.starts_with('/') ? "root" : "cwd/";
    const auto path = fmt::format("/proc/{}/{}{}", process, where, disk.image);
    struct stat status {};
    // A descriptor is not what its name leads to here.
    if (disk.image.starts_with("/dev/fdset/") || ::stat(path.c_str(), &status) != 0)
        return;
    if (S_ISBLK(status.st_mode)) {
        disk.storage = "device";
        disk.file = fmt::format("device {}", status.st_rdev);
        return;
    }
    if (!S_ISREG(status.st_mode))
        return;
    disk.storage = storage_of(path);
    disk.file = fmt::format("{}:{}", status.st_dev, status.st_ino);
    disk.inode = status.st_ino;
    disk.locks = write_locks_on(status.st_dev, status.st_ino).value_or(0);
    disk.own_locks = write_locks_of(process, status.st_dev, status.st_ino).value_or(0);
}

/// The content of the firmware's flash is in the migration stream.
bool is_flash(const std::string& drive, const std::string& device) {
    return drive.starts_with("pflash") || device.find("flash") != std::string::npos;
}

}  // namespace

Result<std::vector<Disk>> ask_disks(qmp::Client& qmp, std::optional<pid_t> process) {
    GC_TRY(const json drives, qmp.execute("query-block"));
    std::vector<Disk> disks;
    for (const json& drive : drives) {
        const json& inserted = member(drive, "inserted");
        const std::string name = text_at(drive, "device"), device = text_at(drive, "qdev");
        // Without a device the guest does not see it.
        if (!inserted.is_object() || device.empty() || is_flash(name, device))
            continue;
        const json& image = member(inserted, "image");
        Disk disk;
        // A board's own devices have numbers that depend on the version of QEMU.
        disk.name = printable(name.empty() ? device : name);
        disk.image = plain_name(text_at(image, "filename"));
        if (const json& size = member(image, "virtual-size"); size.is_number_unsigned())
            disk.size = size.get<std::uint64_t>();
        disk.read_only = member(inserted, "ro") == true;
        if (process)
            look_at_file(disk, *process);
        disk.image = printable(disk.image, max_name);
        disks.push_back(std::move(disk));
    }
    return disks;
}

}  // namespace gc::preflight
