// SPDX-License-Identifier: GPL-2.0-or-later
#include "doctor/checks.h"
#include "doctor/kvm_guest.h"
#include "doctor/packages.h"

#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/kvm.h>
#include <sstream>
#include <sys/ioctl.h>
#include <sys/utsname.h>

namespace gc::doctor {

namespace {

constexpr unsigned long wanted_descriptors = 1024;

Check good(std::string name, std::string found) {
    return {std::move(name), Verdict::ok, std::move(found), ""};
}
Check doubtful(std::string name, std::string found, std::string remedy) {
    return {std::move(name), Verdict::warning, std::move(found), std::move(remedy)};
}
Check lacking(std::string name, std::string found, std::string remedy) {
    return {std::move(name), Verdict::lacking, std::move(found), std::move(remedy)};
}

/// Whether guidecopy.ko is installed for the running kernel.
bool module_installed(const Host& host, const std::string& release) {
    const auto list = host.text("/lib/modules/" + release + "/modules.dep").value_or("");
    return list.find("guidecopy.ko") != std::string::npos;
}

}  // namespace

Check check_processor(const Host&) {
    utsname name{};
    ::uname(&name);
    if (std::string_view(name.machine) == "x86_64")
        return good("processor", name.machine);
    return lacking("processor", fmt::format("{} is not supported", name.machine),
                   "use an x86-64 host");
}

Check check_kernel(const Host& host) {
    const std::string release = host.kernel_release();
    int major = 0;
    int minor = 0;
    if (std::sscanf(release.c_str(), "%d.%d", &major, &minor) != 2)
        return lacking("kernel", "cannot read /proc/sys/kernel/osrelease", "mount /proc");
    if (major > 6 || (major == 6 && minor >= 1))
        return good("kernel", "Linux " + release);
    return lacking("kernel", fmt::format("expected Linux 6.1 or later, found {}", release),
                   how_to_install(host, Package::kernel) + ", and reboot");
}

Check check_kvm(const Host& host) {
    constexpr const char* name = "kvm";
    const auto kvm = host.open("/dev/kvm", O_RDWR);
    if (!kvm && !host.exists("/dev/kvm"))
        return lacking(
            name, "/dev/kvm does not exist",
            "modprobe kvm_intel || modprobe kvm_amd (enable virtualisation in the firmware first)");
    if (!kvm)
        return lacking(name, kvm.error().message,
                       "usermod -aG kvm $USER (and log in again), or use sudo");
    if (::ioctl(kvm->get(), KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
        return lacking(name, "/dev/kvm has an unknown API version", "modprobe kvm");
    const UniqueFd machine(::ioctl(kvm->get(), KVM_CREATE_VM, 0));
    if (!machine)
        return lacking(name, fmt::format("/dev/kvm cannot create a VM: {}", std::strerror(errno)),
                       "stop other hypervisors (lsmod | grep -i vbox); if this host is a VM, "
                       "enable nested virtualisation on its host");
    if (const auto ran = run_kvm_guest(kvm->get()); !ran)
        return lacking(
            name, "/dev/kvm creates VMs, but " + ran.error().message,
            "if this host is a VM, enable nested virtualisation on its host; or run QEMU "
            "with -accel tcg");
    return good(name, "/dev/kvm runs a guest");
}

Check check_module(const Host& host) {
    constexpr const char* name = "module";
    const auto device = host.open("/dev/guidecopy", O_RDWR);
    if (device)
        return good(name, "guidecopy is loaded");
    if (host.exists("/dev/guidecopy"))
        return doubtful(name, device.error().message,
                        "usermod -aG guidecopy $USER (and log in again), or use sudo");
    const std::string release = host.kernel_release();
    if (module_installed(host, release))
        return doubtful(name, "guidecopy is installed but not loaded", "modprobe guidecopy");
    const std::string headers = host.exists(fmt::format("/lib/modules/{}/build", release))
                                    ? ""
                                    : how_to_install(host, Package::kernel_headers) + "; then ";
    return doubtful(name, fmt::format("guidecopy is not installed for Linux {}", release),
                    headers + "make deps && sudo make install && sudo modprobe guidecopy");
}

Check check_capture(const Host& host) {
    constexpr const char* name = "capture";
    if (host.open("/dev/guidecopy", O_RDWR))
        return good(name, "guides are captured by guidecopy");
    const auto unprivileged = host.text("/proc/sys/vm/unprivileged_userfaultfd");
    if (!unprivileged)
        return lacking(name, "guidecopy is not usable, and the kernel has no userfaultfd",
                       "load the module, or use a kernel with CONFIG_USERFAULTFD");
    if (*unprivileged == "1")
        return good(name, "guides are captured by userfaultfd, which all users may use");
    // A guide has no capabilities: it is given a descriptor of the device (guide/userfault.h).
    if (const auto device = host.open("/dev/userfaultfd", O_RDWR); !device)
        return lacking(name, "guidecopy is not usable, and neither is " + device.error().message,
                       "run gcctl with sudo, or sysctl -w vm.unprivileged_userfaultfd=1");
    return good(name, "guides are captured by userfaultfd, by /dev/userfaultfd");
}

Check check_userfaultfd(const Host& host, const Options& options) {
    const auto user = qemu_user_of(options);
    if (!user)
        return lacking("userfaultfd", user.error().message, "name QEMU's user by --qemu-user");
    return judge_userfaultfd(host, user->name, try_userfaultfd(host, *user),
                             qemu_opens_userfaultfd(host));
}

Check judge_userfaultfd(const Host& host, const std::string& user,
                        const Result<UserfaultfdAccess>& access, bool qemu_opens_device) {
    constexpr const char* name = "userfaultfd";
    constexpr const char* allow = "sysctl -w vm.unprivileged_userfaultfd=1, or run QEMU as root";
    if (!host.exists("/proc/sys/vm/unprivileged_userfaultfd"))
        return lacking(name, "the kernel has no userfaultfd",
                       "use a kernel with CONFIG_USERFAULTFD");
    if (!access)
        return doubtful(name, "not tried: " + access.error().message, "run gcctl with sudo");
    if (access->system_call)
        return good(name, fmt::format("available to {}", user));
    if (!access->device)
        return lacking(name, fmt::format("not available to {}, as which QEMU runs", user), allow);
    if (!qemu_opens_device)
        return lacking(name,
                       fmt::format("available to {} by /dev/userfaultfd only, which QEMU before "
                                   "8.0 does not open",
                                   user),
                       allow);
    return good(name, fmt::format("available to {} by /dev/userfaultfd", user));
}

Check check_privileges(const Host& host) {
    std::string missing;
    for (const auto& [capability, text] :
         {std::pair(CAP_SYS_ADMIN, "CAP_SYS_ADMIN"), std::pair(CAP_SYS_PTRACE, "CAP_SYS_PTRACE"),
          std::pair(CAP_NET_ADMIN, "CAP_NET_ADMIN")})
        if (!host.has_capability(static_cast<unsigned>(capability)))
            missing += std::string(missing.empty() ? "" : ", ") + text;
    if (missing.empty())
        return good("privileges", "CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_NET_ADMIN");
    return lacking("privileges", "missing: " + missing, "run gcctl with sudo");
}

Check check_network_namespaces(const Host& host) {
    if (!host.exists("/proc/self/ns/net"))
        return lacking("network-namespaces", "the kernel has no network namespaces",
                       "use a kernel with CONFIG_NET_NS");
    const auto limit = host.text("/proc/sys/user/max_net_namespaces");
    if (limit && *limit == "0")
        return lacking("network-namespaces", "disabled by user.max_net_namespaces",
                       "sysctl -w user.max_net_namespaces=1024");
    return good("network-namespaces", "available");
}

Check check_tun(const Host& host) {
    const auto tun = host.open("/dev/net/tun", O_RDWR);
    if (tun)
        return good("tun", "/dev/net/tun opens");
    return lacking("tun", tun.error().message,
                   host.exists("/dev/net/tun") ? "run gcctl with sudo" : "modprobe tun");
}

Check check_huge_pages(const Host& host) {
    constexpr const char* name = "shmem-huge-pages";
    const auto setting =
        host.text("/sys/kernel/mm/transparent_hugepage/shmem_enabled").value_or("[never]");
    const auto start = setting.find('[');
    const auto chosen = start == std::string::npos
                            ? setting
                            : setting.substr(start + 1, setting.find(']') - start - 1);
    if (chosen == "never" || chosen == "deny")
        return good(name, "off for shared memory");
    return doubtful(
        name,
        fmt::format("'{}': capture is less precise for VMs whose shared memory is in huge pages",
                    chosen),
        "echo never > /sys/kernel/mm/transparent_hugepage/shmem_enabled (before the VM starts)");
}

Check check_descriptors(const Host& host) {
    std::istringstream lines(host.text("/proc/self/limits").value_or(""));
    std::string soft = "unlimited";
    for (std::string line; std::getline(lines, line);)
        if (line.starts_with("Max open files"))
            std::istringstream(line.substr(14)) >> soft;
    if (soft == "unlimited" || std::strtoul(soft.c_str(), nullptr, 10) >= wanted_descriptors)
        return good("descriptors", soft + " open files");
    return doubtful("descriptors",
                    fmt::format("{} open files; a VM with many queues needs more", soft),
                    fmt::format("ulimit -n {}", wanted_descriptors));
}

}  // namespace gc::doctor
