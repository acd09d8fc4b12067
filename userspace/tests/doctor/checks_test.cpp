// SPDX-License-Identifier: GPL-2.0-or-later
// Runs the checks on fake hosts: directories with the files of a host.
#include "doctor/checks.h"

#include "doctor/child.h"
#include "doctor/command.h"
#include "doctor/kvm_guest.h"
#include "doctor/packages.h"

#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace gc::doctor {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

class DoctorTest : public ::testing::Test {
  protected:
    DoctorTest() {
        char name[] = "/tmp/gc-doctor-test-XXXXXX";
        root_ = ::mkdtemp(name);
        put("/proc/sys/kernel/osrelease", "6.1.0-56-amd64\n");
    }
    ~DoctorTest() override { fs::remove_all(root_); }

    void put(const std::string& file, const std::string& text, bool executable = false) {
        fs::create_directories(fs::path(root_ + file).parent_path());
        std::ofstream(root_ + file) << text;
        if (executable)
            fs::permissions(root_ + file, fs::perms::owner_all);
    }
    [[nodiscard]] Host host() const { return Host(root_); }

    std::string root_;
};

TEST_F(DoctorTest, KernelVersion) {
    EXPECT_EQ(check_kernel(host()).verdict, Verdict::ok);
    put("/proc/sys/kernel/osrelease", "6.12.117+deb12-amd64\n");
    EXPECT_EQ(check_kernel(host()).found, "Linux 6.12.117+deb12-amd64");
    put("/proc/sys/kernel/osrelease", "7.0.1\n");
    EXPECT_EQ(check_kernel(host()).verdict, Verdict::ok);
    put("/proc/sys/kernel/osrelease", "5.10.0-28-amd64\n");
    EXPECT_EQ(check_kernel(host()).verdict, Verdict::lacking);
    put("/proc/sys/kernel/osrelease", "unknown");
    EXPECT_EQ(check_kernel(host()).verdict, Verdict::lacking);
}

TEST_F(DoctorTest, KvmIsNotThereOrIsSomethingElse) {
    EXPECT_THAT(check_kvm(host()).remedy, HasSubstr("modprobe kvm_intel"));
    put("/dev/kvm", "");
    const auto check = check_kvm(host());
    EXPECT_EQ(check.verdict, Verdict::lacking);
    EXPECT_THAT(check.found, HasSubstr("unknown API version"));
}

TEST_F(DoctorTest, ModuleStates) {
    auto check = check_module(host());
    EXPECT_EQ(check.verdict, Verdict::warning) << "there is userfaultfd";
    EXPECT_THAT(check.remedy,
                AllOf(HasSubstr("/lib/modules/6.1.0-56-amd64/build"), Not(HasSubstr("apt"))))
        << "only Debian's kernels have such packages";
    put("/lib/modules/6.1.0-56-amd64/build/Makefile", "");
    EXPECT_THAT(check_module(host()).remedy, testing::StartsWith("make deps && sudo make install"));
    fs::remove_all(root_ + "/lib/modules");
    put("/etc/os-release", "ID=debian\n");
    put("/proc/version", "Linux version 6.1.0-56-amd64 (Debian 12) #1 SMP Debian 6.1.1-1");
    check = check_module(host());
    EXPECT_THAT(check.remedy, HasSubstr("apt install linux-headers-6.1.0-56-amd64"));
    put("/lib/modules/6.1.0-56-amd64/modules.dep",
        "kernel/a.ko:\nupdates/guidecopy.ko: kernel/a.ko\n");
    check = check_module(host());
    EXPECT_EQ(check.remedy, "modprobe guidecopy");
    put("/dev/guidecopy", "");
    EXPECT_EQ(check_module(host()).verdict, Verdict::ok);
}

TEST_F(DoctorTest, CaptureByTheModuleOrByUserfaultfd) {
    EXPECT_EQ(check_capture(host()).verdict, Verdict::lacking);
    put("/proc/sys/vm/unprivileged_userfaultfd", "0\n");
    EXPECT_EQ(check_capture(host()).verdict, Verdict::lacking);
    EXPECT_THAT(check_capture(host()).remedy, HasSubstr("vm.unprivileged_userfaultfd=1"));
    put("/dev/userfaultfd", "");
    EXPECT_EQ(check_capture(host()).verdict, Verdict::ok);
    EXPECT_THAT(check_capture(host()).found, HasSubstr("by /dev/userfaultfd"));
    put("/proc/sys/vm/unprivileged_userfaultfd", "1\n");
    EXPECT_THAT(check_capture(host()).found, HasSubstr("all users"));
    put("/dev/guidecopy", "");
    EXPECT_THAT(check_capture(host()).found, HasSubstr("by guidecopy"));
}

TEST_F(DoctorTest, UserfaultfdIsThatOfTheUserWhoRunsQemu) {
    const auto judge = [this](Result<UserfaultfdAccess> access, bool qemu_opens_device) {
        return judge_userfaultfd(host(), "libvirt-qemu", access, qemu_opens_device);
    };
    EXPECT_EQ(judge(UserfaultfdAccess{.system_call = true}, true).verdict, Verdict::lacking)
        << "the kernel has none";
    put("/proc/sys/vm/unprivileged_userfaultfd", "0\n");
    EXPECT_EQ(judge(UserfaultfdAccess{.system_call = true}, false).found,
              "available to libvirt-qemu");
    EXPECT_EQ(judge(UserfaultfdAccess{.device = true}, true).verdict, Verdict::ok);
    auto check = judge(UserfaultfdAccess{.device = true}, false);
    EXPECT_EQ(check.verdict, Verdict::lacking);
    EXPECT_THAT(check.found, HasSubstr("QEMU before 8.0"));
    check = judge(UserfaultfdAccess{}, true);
    EXPECT_EQ(check.verdict, Verdict::lacking);
    EXPECT_THAT(check.found, HasSubstr("not available to libvirt-qemu"));
    EXPECT_THAT(check.remedy, HasSubstr("sysctl -w vm.unprivileged_userfaultfd=1"));
    check = judge(fail(ErrorKind::io, "cannot become libvirt-qemu"), true);
    EXPECT_EQ(check.verdict, Verdict::warning);
    EXPECT_THAT(check.found, HasSubstr("not tried: cannot become libvirt-qemu"));
}

TEST_F(DoctorTest, UserfaultfdIsTriedAsThatUser) {
    const auto nobody = find_qemu_user("nobody");
    ASSERT_TRUE(nobody);
    const auto access = try_userfaultfd(Host(), *nobody);
    if (::geteuid() != 0) {
        ASSERT_FALSE(access);
        EXPECT_THAT(access.error().message, HasSubstr("cannot become nobody"));
        return;
    }
    ASSERT_TRUE(access) << access.error().message;
    const auto everybody = Host().text("/proc/sys/vm/unprivileged_userfaultfd");
    EXPECT_EQ(access->system_call, everybody == "1");
    EXPECT_EQ(::geteuid(), 0U) << "this process has become nobody";
    // The device of a fake host is a plain file.
    put("/dev/userfaultfd", "");
    EXPECT_FALSE(try_userfaultfd(host(), *nobody)->device);
}

TEST_F(DoctorTest, UserOfQemu) {
    EXPECT_EQ(find_qemu_user("root")->uid, 0U);
    EXPECT_THAT(find_qemu_user("no-such-user").error().message, HasSubstr("no-such-user"));
    EXPECT_EQ(user_of_process(::getpid())->uid, ::geteuid());
    EXPECT_EQ(user_of_process(1)->name, "root");
    put("/usr/bin/qemu-system-x86_64", "#!/bin/sh\necho 'QEMU emulator version 7.2.22'\n", true);
    EXPECT_FALSE(qemu_opens_userfaultfd(host()));
    put("/usr/bin/qemu-system-x86_64", "#!/bin/sh\necho 'QEMU emulator version 10.0.3'\n", true);
    EXPECT_TRUE(qemu_opens_userfaultfd(host()));
}

TEST_F(DoctorTest, PackagesAreThoseOfTheDistribution) {
    struct Case {
        const char* os_release;
        const char* version;
        const char* qemu;
        const char* headers;
    };
    constexpr const char* by_hand = "install the headers of this kernel";
    for (const auto& [os_release, version, qemu, headers] : {
             Case{"ID=debian\nVERSION_ID=\"13\"\n", "Linux version 6.12 (Debian 14.2.0)",
                  "apt install qemu-system-x86", "apt install linux-headers-6.1.0-56-amd64"},
             Case{"ID=ubuntu\nID_LIKE=debian\n", "Linux version 6.8.0 (Ubuntu 13.2.0)",
                  "apt install qemu-system-x86", "apt install linux-headers-6.1.0-56-amd64"},
             Case{"ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", "Linux version 6.8.0 (Ubuntu)",
                  "apt install qemu-system-x86", "apt install linux-headers-6.1.0-56-amd64"},
             Case{"ID=fedora\n", "Linux version 6.11 (mockbuild@x.fedoraproject.org)",
                  "dnf install qemu-system-x86", "dnf install kernel-devel-6.1.0-56-amd64"},
             Case{"ID=arch\n", "Linux version 6.12.1-arch1-1", "pacman -S qemu-system-x86",
                  "pacman -S linux-headers"},
             Case{"ID=arch\n", "Linux version 6.6.1-1-lts", "pacman -S qemu-system-x86", by_hand},
             Case{"ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"\n",
                  "Linux version 6.12.1-1-default", "zypper install qemu-x86",
                  "zypper install kernel-default-devel"},
             Case{"ID=almalinux\nID_LIKE=\"rhel centos fedora\"\n", "Linux version 5.14",
                  "install QEMU 7.2 or later", by_hand},
             Case{"ID=debian\n", "Linux version 6.18.44 (root@buildhost)",
                  "apt install qemu-system-x86", by_hand},
             Case{"", "", "install QEMU 7.2 or later", by_hand},
         }) {
        put("/etc/os-release", os_release);
        put("/proc/version", version);
        EXPECT_THAT(how_to_install(host(), Package::qemu), testing::StartsWith(qemu)) << os_release;
        EXPECT_THAT(how_to_install(host(), Package::kernel_headers), testing::StartsWith(headers))
            << os_release << version;
    }
}

TEST(DoctorChild, ItsTextOrItsEnd) {
    using namespace std::chrono_literals;
    EXPECT_EQ(in_child([] { return std::string("answer"); }, 5s), "answer");
    const auto late = in_child(
        [] {
            ::pause();
            return std::string();
        },
        20ms);
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().message, "did not end within 20 ms");
}

TEST(DoctorKvmGuest, HaltsOrSaysWhyNot) {
    const UniqueFd kvm(::open("/dev/kvm", O_RDWR | O_CLOEXEC));
    if (!kvm)
        GTEST_SKIP() << "no /dev/kvm";
    const auto ran = run_kvm_guest(kvm.get());
    // Where KVM emulates, it does not get far. It never ends otherwise.
    if (!ran) {
        EXPECT_THAT(ran.error().message, HasSubstr("its instructions are emulated"));
    }
    const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    EXPECT_THAT(run_kvm_guest(null.get()).error().message, HasSubstr("KVM_CREATE_VM"));
}

TEST_F(DoctorTest, PrivilegesAreThoseThatAreEffective) {
    EXPECT_THAT(check_privileges(host()).found, HasSubstr("CAP_SYS_ADMIN"));
    put("/proc/self/status", "Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000080000\n");
    EXPECT_EQ(check_privileges(host()).found, "missing: CAP_SYS_ADMIN, CAP_NET_ADMIN");
    EXPECT_EQ(check_privileges(host()).remedy, "run gcctl with sudo");
    put("/proc/self/status", "CapEff:\t0000000000281000\n");
    EXPECT_EQ(check_privileges(host()).verdict, Verdict::ok);
}

TEST_F(DoctorTest, WhatAPolicyLacksIsAWarning) {
    put("/proc/self/status", "CapEff:\t0000000000000000\n");
    EXPECT_EQ(check_policy_privileges(host()).verdict, Verdict::warning);
    EXPECT_THAT(check_policy_privileges(host()).found, HasSubstr("CAP_BPF, CAP_NET_ADMIN"));
    put("/proc/self/status", "CapEff:\t0000008000001000\n");
    EXPECT_EQ(check_policy_privileges(host()).verdict, Verdict::ok);

    put("/proc/mounts", "sysfs /sys sysfs rw 0 0\nbpf /elsewhere bpf rw 0 0\n");
    EXPECT_EQ(check_bpf_file_system(host()).remedy, "mount -t bpf bpf /sys/fs/bpf");
    put("/proc/mounts", "bpf /sys/fs/bpf bpf rw 0 0\n");
    EXPECT_EQ(check_bpf_file_system(host()).verdict, Verdict::ok);
}

TEST_F(DoctorTest, ModulesOfAPolicy) {
    auto check = check_policy_modules(host());
    EXPECT_EQ(check.verdict, Verdict::warning);
    EXPECT_THAT(check.remedy, HasSubstr("modprobe -a sch_fq sch_ingress cls_bpf"));
    put("/lib/modules/6.1.0-56-amd64/modules.dep",
        "kernel/net/sched/sch_fq.ko:\nkernel/net/sched/cls_bpf.ko:\n");
    put("/sys/module/sch_ingress/refcnt", "0\n");
    EXPECT_EQ(check_policy_modules(host()).verdict, Verdict::ok);
    // tcx needs neither clsact nor its filters.
    put("/proc/sys/kernel/osrelease", "6.12.117+deb12-amd64\n");
    EXPECT_THAT(check_policy_modules(host()).remedy, HasSubstr("modprobe -a sch_fq ("));
    put("/lib/modules/6.12.117+deb12-amd64/modules.builtin", "kernel/net/sched/sch_fq.ko\n");
    EXPECT_EQ(check_policy_modules(host()).verdict, Verdict::ok);
}

TEST_F(DoctorTest, NetworkNamespacesAndTun) {
    EXPECT_EQ(check_network_namespaces(host()).verdict, Verdict::lacking);
    put("/proc/self/ns/net", "");
    EXPECT_EQ(check_network_namespaces(host()).verdict, Verdict::ok);
    put("/proc/sys/user/max_net_namespaces", "0\n");
    EXPECT_THAT(check_network_namespaces(host()).remedy, HasSubstr("max_net_namespaces"));
    EXPECT_EQ(check_tun(host()).remedy, "modprobe tun");
    put("/dev/net/tun", "");
    EXPECT_EQ(check_tun(host()).verdict, Verdict::ok);
}

TEST_F(DoctorTest, HugePagesOfSharedMemory) {
    EXPECT_EQ(check_huge_pages(host()).verdict, Verdict::ok);
    constexpr const char* file = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
    put(file, "always within_size advise [never] deny force\n");
    EXPECT_EQ(check_huge_pages(host()).verdict, Verdict::ok);
    put(file, "always within_size [advise] never deny force\n");
    EXPECT_EQ(check_huge_pages(host()).verdict, Verdict::warning);
    EXPECT_THAT(check_huge_pages(host()).found, HasSubstr("'advise'"));
}

TEST_F(DoctorTest, Descriptors) {
    EXPECT_EQ(check_descriptors(host()).verdict, Verdict::ok);
    put("/proc/self/limits", "Limit  Soft Limit  Hard Limit  Units\n"
                             "Max open files            256                  524288     files\n");
    EXPECT_THAT(check_descriptors(host()).remedy, HasSubstr("ulimit -n"));
}

TEST_F(DoctorTest, QemuVersions) {
    EXPECT_EQ(check_qemu(host()).remedy, "install QEMU 7.2 or later for x86-64");
    const auto say = [&](const std::string& text) {
        put("/usr/bin/qemu-system-x86_64", "#!/bin/sh\necho '" + text + "'\n", true);
        return check_qemu(host());
    };
    EXPECT_EQ(say("QEMU emulator version 7.2.22 (Debian 1:7.2)").found,
              "QEMU emulator version 7.2.22 (Debian 1:7.2)");
    EXPECT_EQ(say("QEMU emulator version 10.0.2").verdict, Verdict::ok);
    EXPECT_EQ(say("QEMU emulator version 7.1.0").verdict, Verdict::lacking);
    EXPECT_EQ(say("segmentation fault").verdict, Verdict::lacking);
}

TEST_F(DoctorTest, AnAbsentVmIsLacking) {
    const auto checks = check_vm({Role::source, "/nonexistent.qmp"});
    ASSERT_EQ(checks.size(), 1u);
    EXPECT_EQ(checks[0].verdict, Verdict::lacking);
    EXPECT_THAT(checks[0].found, HasSubstr("/nonexistent.qmp"));
}

TEST_F(DoctorTest, RolesChooseTheChecks) {
    const auto names = [&](Role role) {
        std::vector<std::string> all;
        for (const Check& check : run_checks(host(), {role, ""}))
            all.push_back(check.name);
        return all;
    };
    using ::testing::Contains;
    using ::testing::Not;
    EXPECT_THAT(names(Role::source), ::testing::IsSupersetOf({"module", "capture"}));
    EXPECT_THAT(names(Role::source), Not(Contains("userfaultfd")));
    EXPECT_THAT(names(Role::destination), Contains("userfaultfd"));
    EXPECT_THAT(names(Role::destination), Not(Contains("module")));
    EXPECT_THAT(names(Role::both), ::testing::IsSupersetOf({"module", "userfaultfd", "kvm"}));
}

const std::vector<Check> samples = {
    {"kvm", Verdict::ok, "/dev/kvm makes VMs", ""},
    {"module", Verdict::lacking, "not loaded", "modprobe guidecopy"},
    {"descriptors", Verdict::warning, "256", "ulimit -n 1024"}};

TEST(DoctorRendering, Text) {
    EXPECT_EQ(render_text(samples), "ok       kvm                 /dev/kvm makes VMs\n"
                                    "lacking  module              not loaded\n"
                                    "                             -> modprobe guidecopy\n"
                                    "warning  descriptors         256\n"
                                    "                             -> ulimit -n 1024\n"
                                    "\nNot ready: 1 of 3 checks failed.\n");
    EXPECT_EQ(render_text({}), "\nReady.\n");
}

TEST(DoctorRendering, Json) {
    const auto json = render_json(samples);
    EXPECT_EQ(json["ready"], false);
    EXPECT_EQ(json["checks"][1],
              nlohmann::json::parse(R"({"name":"module","verdict":"lacking","found":"not loaded",)"
                                    R"("remedy":"modprobe guidecopy"})"));
    EXPECT_EQ(render_json({samples[0], samples[2]})["ready"], true) << "warnings do not fail";
}

}  // namespace
}  // namespace gc::doctor
