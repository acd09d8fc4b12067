// SPDX-License-Identifier: GPL-2.0-or-later
#include "mini_vm.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <functional>
#include <stdexcept>
#include <sys/ioctl.h>
#include <system_error>

namespace gc::capture::test {
namespace {

// The guest's program and its page directory, in slot 0.
constexpr std::uint64_t program_gpa = 0;
constexpr std::uint64_t directory_gpa = page_size;
constexpr std::size_t program_pages = 2;

// At 16 bytes each, with the address in ebx and how many pages in ecx:
constexpr std::size_t snippet_size = 16;
constexpr std::array<std::array<unsigned char, snippet_size>, 5> snippets{{
    {0x8b, 0x03, 0xf4},  // mov eax,[ebx]; hlt
    {0x89, 0x03, 0xf4},  // mov [ebx],eax; hlt
    {0xff, 0xe3},        // jmp ebx
    // again: mov eax,[ebx]; add ebx,4096; dec ecx; jnz again; hlt
    {0x8b, 0x03, 0x81, 0xc3, 0x00, 0x10, 0x00, 0x00, 0x49, 0x75, 0xf5, 0xf4},
    // again: mov [ebx],eax; add ebx,4096; dec ecx; jnz again; hlt
    {0x89, 0x03, 0x81, 0xc3, 0x00, 0x10, 0x00, 0x00, 0x49, 0x75, 0xf5, 0xf4},
}};
constexpr std::uint64_t first_sweep = 3;
constexpr unsigned char halt = 0xf4;

constexpr std::uint64_t cr0_protected = 1U << 0;
constexpr std::uint64_t cr0_paging = 1U << 31;
constexpr std::uint64_t cr4_large_pages = 1U << 4;
constexpr std::uint32_t entry_present_writable_large = 0x83;

int must(int result, const char* what) {
    if (result < 0)
        throw std::system_error(errno, std::generic_category(), what);
    return result;
}

kvm_segment flat_segment(std::uint16_t selector, std::uint8_t type) {
    kvm_segment segment{};
    segment.limit = 0xffffffff;
    segment.selector = selector;
    segment.type = type;
    segment.present = 1;
    segment.db = 1;
    segment.s = 1;
    segment.g = 1;
    return segment;
}

void change_sregs(int vcpu, const std::function<void(kvm_sregs&)>& change) {
    kvm_sregs sregs{};
    must(::ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
    change(sregs);
    must(::ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
}

}  // namespace

MiniVm::MiniVm(unsigned vcpus, Paging paging, Irqchip irqchip)
    : kvm_(must(::open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm")),
      vm_(must(::ioctl(kvm_.get(), KVM_CREATE_VM, 0), "KVM_CREATE_VM")),
      program_(-1, program_pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS),
      irqchip_(irqchip) {
    std::memcpy(program_.data(), snippets.data(), sizeof(snippets));
    auto* directory = reinterpret_cast<std::uint32_t*>(program_.data() + directory_gpa);
    for (std::uint32_t entry = 0; entry < page_size / sizeof(*directory); ++entry)
        directory[entry] = entry << 22 | entry_present_writable_large;
    // Intel: where no slot will be.
    must(::ioctl(fd(), KVM_SET_TSS_ADDR, 0xfffbd000), "KVM_SET_TSS_ADDR");
    set_slot(0, program_gpa, program_.data(), program_.size());
    if (irqchip == Irqchip::in_kernel)
        must(::ioctl(fd(), KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
    const int run_size =
        must(::ioctl(kvm_.get(), KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
    for (unsigned number = 0; number < vcpus; ++number) {
        UniqueFd vcpu(must(::ioctl(fd(), KVM_CREATE_VCPU, number), "KVM_CREATE_VCPU"));
        auto run = Mapping::map(vcpu.get(), static_cast<std::size_t>(run_size),
                                PROT_READ | PROT_WRITE, MAP_SHARED, 0, "vCPU");
        if (!run)
            throw std::runtime_error(run.error().message);
        vcpus_.push_back(Vcpu{std::move(vcpu), std::move(*run)});
        enter_protected_mode(vcpus_.back());
    }
    if (irqchip == Irqchip::in_kernel)
        make_runnable();
    if (paging == Paging::on)
        turn_on_paging();
}

/// All but the first vCPU wait to be started by another one.
void MiniVm::make_runnable() const {
    for (const Vcpu& vcpu : vcpus_) {
        kvm_mp_state state{.mp_state = KVM_MP_STATE_RUNNABLE};
        must(::ioctl(vcpu.fd.get(), KVM_SET_MP_STATE, &state), "KVM_SET_MP_STATE");
    }
}

void MiniVm::enter_protected_mode(const Vcpu& vcpu) {
    constexpr std::uint8_t code = 11;
    constexpr std::uint8_t data = 3;
    change_sregs(vcpu.fd.get(), [](kvm_sregs& sregs) {
        sregs.cs = flat_segment(8, code);
        sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat_segment(16, data);
        sregs.cr0 |= cr0_protected;
    });
}

void MiniVm::turn_on_paging() const {
    for (const Vcpu& vcpu : vcpus_)
        change_sregs(vcpu.fd.get(), [](kvm_sregs& sregs) {
            sregs.cr3 = directory_gpa;
            sregs.cr4 |= cr4_large_pages;
            sregs.cr0 |= cr0_paging;
        });
}

void MiniVm::set_slot(unsigned number, std::uint64_t gpa, const std::byte* memory,
                      std::size_t length) const {
    kvm_userspace_memory_region region{};
    region.slot = number;
    region.guest_phys_addr = gpa;
    region.memory_size = length;
    region.userspace_addr = reinterpret_cast<std::uintptr_t>(memory);
    must(::ioctl(fd(), KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
}

bool MiniVm::access(Access kind, std::uint64_t gpa, unsigned vcpu) const {
    return run(static_cast<std::uint64_t>(kind), gpa, 1, vcpu);
}

bool MiniVm::sweep(Access kind, std::uint64_t gpa, std::size_t pages, unsigned vcpu) const {
    return run(first_sweep + static_cast<std::uint64_t>(kind), gpa, pages, vcpu);
}

bool MiniVm::run(std::uint64_t program, std::uint64_t gpa, std::size_t pages, unsigned vcpu) const {
    const Vcpu& cpu = vcpus_.at(vcpu);
    const auto* run = reinterpret_cast<const kvm_run*>(cpu.run.data());
    kvm_regs regs{};
    regs.rip = program_gpa + program * snippet_size;
    regs.rbx = gpa;
    regs.rcx = pages;
    // A vCPU that accepts no interrupt faults synchronously.
    constexpr std::uint64_t interrupts = 1U << 9;
    regs.rflags = irqchip_ == Irqchip::in_kernel ? 2 | interrupts : 2;
    if (::ioctl(cpu.fd.get(), KVM_SET_REGS, &regs) != 0)
        return false;
    while (::ioctl(cpu.fd.get(), KVM_RUN, 0) != 0)
        if (errno != EINTR)
            return false;
    return run->exit_reason == KVM_EXIT_HLT;
}

void MiniVm::put_halt(const Pages& memory, std::size_t page) {
    *reinterpret_cast<unsigned char*>(memory.word(page)) = halt;
}

}  // namespace gc::capture::test
