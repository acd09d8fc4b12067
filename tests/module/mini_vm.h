// SPDX-License-Identifier: GPL-2.0-or-later
// A VM over the bare /dev/kvm whose vCPUs make one access at a time, each as the test says.
#pragma once

#include "support.h"

#include <linux/kvm.h>

namespace gc::capture::test {

class MiniVm {
  public:
    enum class Access { read, write, execute };
    enum class Paging { off, on };  // the guest's own; on maps each address to itself
    /// With its interrupt controllers in the kernel a vCPU uses asynchronous page faults. Its HLT
    /// stays in the kernel, so access() and sweep() do not return.
    enum class Irqchip { none, in_kernel };

    explicit MiniVm(unsigned vcpus = 1, Paging paging = Paging::off,
                    Irqchip irqchip = Irqchip::none);

    [[nodiscard]] int fd() const { return vm_.get(); }

    /// Memory slot `number`, from 1 on: where `memory` is in the guest. length 0 deletes it.
    void set_slot(unsigned number, std::uint64_t gpa, const std::byte* memory,
                  std::size_t length) const;

    /// Runs a vCPU until the access is made. To execute, the page must begin with a halt().
    /// False when KVM could not do it; each vCPU is to be used by one thread at a time.
    [[nodiscard]] bool access(Access kind, std::uint64_t gpa, unsigned vcpu = 0) const;

    /// Runs a vCPU until it has made such an access, a read or a write, to each of the pages in
    /// turn.
    [[nodiscard]] bool sweep(Access kind, std::uint64_t gpa, std::size_t pages,
                             unsigned vcpu = 0) const;

    /// As if each vCPU's guest had written its control registers.
    void turn_on_paging() const;

    static void put_halt(const Pages& memory, std::size_t page);

  private:
    struct Vcpu {
        UniqueFd fd;
        Mapping run;
    };

    [[nodiscard]] bool run(std::uint64_t program, std::uint64_t gpa, std::size_t pages,
                           unsigned vcpu) const;
    static void enter_protected_mode(const Vcpu& vcpu);
    void make_runnable() const;

    UniqueFd kvm_;
    UniqueFd vm_;
    Pages program_;
    Irqchip irqchip_;
    std::vector<Vcpu> vcpus_;
};

}  // namespace gc::capture::test
