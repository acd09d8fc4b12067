// SPDX-License-Identifier: GPL-2.0-or-later
// Tracks where KVM runs VMs by shadow paging, which has no addresses to track by.
#include "mini_vm.h"
#include "raw_capture.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>

namespace gc::capture::test {
namespace {

/// KVM's module for this processor, loaded again without nested paging; and again as it was.
class ShadowPaging : public testing::Test {
  protected:
    ShadowPaging() { reload(" " + option_ + "=0"); }
    ~ShadowPaging() override {
        capture_.close();  // it holds the VM, and that KVM's module
        reload("");
    }

    void reload(const std::string& options) {
        const std::string command =
            fmt::format("modprobe -r {0} && modprobe {0}{1}", module_, options);
        loaded_ = std::system(command.c_str()) == 0;  // NOLINT(cert-env33-c): names of our own
        EXPECT_TRUE(loaded_) << command;
    }

    bool intel_ = std::filesystem::exists("/sys/module/kvm_intel");
    std::string module_ = intel_ ? "kvm_intel" : "kvm_amd";
    std::string option_ = intel_ ? "ept" : "npt";
    bool loaded_ = false;
    Pages memory_{-1, 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS};
    static constexpr std::uint64_t gpa = std::uint64_t{16} << 20;
    RawCapture capture_;

    int create(const MiniVm& vm) {
        vm.set_slot(1, gpa, memory_.data(), memory_.size());
        auto arg = argument<gc_track_create>();
        arg.kvm_fd = vm.fd();
        arg.mode = GC_TRACK_ORDER;
        return capture_.create(arg, {{.address = reinterpret_cast<std::uintptr_t>(memory_.data()),
                                      .length = memory_.size()}});
    }
};

TEST_F(ShadowPaging, IsRefused) {
    ASSERT_TRUE(loaded_);
    const MiniVm vm(1, MiniVm::Paging::on);
    ASSERT_TRUE(vm.access(MiniVm::Access::read, 0));
    EXPECT_EQ(create(vm), EOPNOTSUPP);
}

TEST_F(ShadowPaging, ThatBeginsLaterIsCounted) {
    ASSERT_TRUE(loaded_);
    MiniVm vm(1, MiniVm::Paging::off);
    ASSERT_EQ(create(vm), 0);
    ASSERT_TRUE(vm.access(MiniVm::Access::read, gpa));
    EXPECT_EQ(pages_of(capture_.take()), std::vector<std::uint64_t>{0});
    EXPECT_EQ(capture_.stats().unresolved, 0U);
    vm.turn_on_paging();
    ASSERT_TRUE(vm.access(MiniVm::Access::read, gpa + page_size));
    EXPECT_TRUE(capture_.take().empty());
    EXPECT_GT(capture_.stats().unresolved, 0U);
}

}  // namespace
}  // namespace gc::capture::test
