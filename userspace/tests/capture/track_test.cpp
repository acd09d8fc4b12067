// SPDX-License-Identifier: GPL-2.0-or-later
#include "capture/track.h"

#include <array>
#include <cstdlib>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace gc::capture {
namespace {

using testing::HasSubstr;

/// The error of vm_of_process(pid) in a child that has first dropped a privilege.
Error error_in_child(pid_t pid, const std::function<bool()>& give_up) {
    std::array<int, 2> pipe{};
    EXPECT_EQ(::pipe(pipe.data()), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        std::string told = "could not give it up";
        int kind = -1;
        if (give_up()) {
            const auto vm = vm_of_process(pid);
            told = vm ? "has a VM" : vm.error().message;
            kind = vm ? -1 : static_cast<int>(vm.error().kind);
        }
        (void)!::write(pipe[1], told.data(), told.size());
        ::_exit(kind);
    }
    ::close(pipe[1]);
    const UniqueFd reader(pipe[0]);
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    std::array<char, 512> text{};
    const auto length = ::read(reader.get(), text.data(), text.size());
    return {static_cast<ErrorKind>(WEXITSTATUS(status)),
            std::string(text.data(), length > 0 ? static_cast<std::size_t>(length) : 0)};
}

bool become_nobody() {
    return ::setresuid(65534, 65534, 65534) == 0;
}

bool drop_capabilities() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> none{};
    return ::syscall(SYS_capset, &header, none.data()) == 0;
}

void expect_may_not(const Error& error) {
    EXPECT_EQ(error.kind, ErrorKind::unsupported);
    EXPECT_THAT(error.message,
                HasSubstr(fmt::format("take the KVM descriptor of process {}: ", ::getpid())));
    EXPECT_THAT(error.message, HasSubstr("run gcctl as root, or with CAP_SYS_PTRACE"));
}

class VmOfProcessOfRoot : public testing::Test {
  protected:
    void SetUp() override {
        if (::geteuid() != 0)
            GTEST_SKIP() << "not root: there is nothing to give up";
    }
};

TEST_F(VmOfProcessOfRoot, OtherUser) {
    expect_may_not(error_in_child(::getpid(), become_nobody));
}

TEST_F(VmOfProcessOfRoot, RootWithoutCapabilities) {
    expect_may_not(error_in_child(::getpid(), drop_capabilities));
}

TEST(VmOfProcess, NoKvm) {
    const auto vm = vm_of_process(::getpid());
    ASSERT_FALSE(vm);
    EXPECT_EQ(vm.error().kind, ErrorKind::unsupported);
    EXPECT_THAT(vm.error().message,
                HasSubstr(fmt::format("process {} runs no KVM VM", ::getpid())));
    EXPECT_THAT(vm.error().message, HasSubstr("start QEMU with -accel kvm"));
}

TEST(VmOfProcess, Ended) {
    const pid_t child = ::fork();
    if (child == 0)
        ::_exit(0);
    siginfo_t info{};
    ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
    const auto of_zombie = vm_of_process(child);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    const auto of_nobody = vm_of_process(child);
    for (const auto* vm : {&of_zombie, &of_nobody}) {
        ASSERT_FALSE(*vm);
        EXPECT_EQ(vm->error().kind, ErrorKind::io);
        EXPECT_EQ(vm->error().message,
                  fmt::format("process {}, which ran the VM, has ended", child));
    }
}

}  // namespace
}  // namespace gc::capture
