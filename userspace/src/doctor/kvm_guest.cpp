// SPDX-License-Identifier: GPL-2.0-or-later
#include "doctor/kvm_guest.h"

#include "doctor/child.h"
#include "util/fd.h"

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

// The guest, from real mode to 64-bit mode. It is copied to code_address.
asm(R"(
    .pushsection .rodata
    .globl gc_guest_begin, gc_guest_end
gc_guest_begin:
    .code16
    cli
    lgdtl (gc_guest_gdt_pointer - gc_guest_begin + 0x1000)
    movl %cr0, %eax
    orb $1, %al                 # PE
    movl %eax, %cr0
    ljmpl $0x8, $(gc_guest_32 - gc_guest_begin + 0x1000)
    .code32
gc_guest_32:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %ss
    movl $0x2000, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x20, %eax             # PAE
    movl %eax, %cr4
    movl $0xc0000080, %ecx      # EFER
    rdmsr
    orl $0x100, %eax            # LME
    wrmsr
    movl %cr0, %eax
    orl $0x80000000, %eax       # PG
    movl %eax, %cr0
    ljmpl $0x18, $(gc_guest_64 - gc_guest_begin + 0x1000)
    .code64
gc_guest_64:
    movl $5000000, %ecx
1:
    decl %ecx
    jnz 1b
    hlt
    .balign 8
gc_guest_gdt:
    .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff
gc_guest_gdt_pointer:
    .word 31
    .long gc_guest_gdt - gc_guest_begin + 0x1000
gc_guest_end:
    .popsection
)");

extern "C" const std::byte gc_guest_begin[];  // NOLINT: defined above
extern "C" const std::byte gc_guest_end[];    // NOLINT: defined above

namespace gc::doctor {

namespace {

constexpr std::size_t memory_size = 0x5000;
constexpr std::uint64_t code_address = 0x1000;
constexpr std::uint64_t page_tables = 0x2000;  ///< three pages
constexpr auto limit = std::chrono::milliseconds(1000);

/// Maps the first 2 MiB at their own address.
void write_page_tables(std::byte* memory) {
    constexpr std::uint64_t present_writable = 3;
    constexpr std::uint64_t huge = 0x80;
    const std::uint64_t entries[] = {(page_tables + 0x1000) | present_writable,
                                     (page_tables + 0x2000) | present_writable,
                                     huge | present_writable};
    for (std::size_t level = 0; level < 3; ++level)
        std::memcpy(memory + page_tables + level * 0x1000, &entries[level], sizeof entries[level]);
}

/// struct kvm_cpuid2 and the ioctls that take it: in C++ linux/kvm.h gives its flexible array a
/// size, and the ioctls other numbers.
struct Cpuid {
    std::uint32_t count = 256;
    std::uint32_t padding = 0;
    std::array<kvm_cpuid_entry2, 256> entries{};
};
constexpr unsigned long get_supported_cpuid = _IOWR(KVMIO, 0x05, std::uint64_t);
constexpr unsigned long set_cpuid2 = _IOW(KVMIO, 0x90, std::uint64_t);

/// The guest's CPU has what KVM supports: 64-bit mode, for one.
Result<void> set_cpuid(int kvm, int vcpu) {
    Cpuid cpuid;
    if (::ioctl(kvm, get_supported_cpuid, &cpuid) < 0)
        return fail_errno(errno, "KVM_GET_SUPPORTED_CPUID");
    if (::ioctl(vcpu, set_cpuid2, &cpuid) < 0)
        return fail_errno(errno, "KVM_SET_CPUID2");
    return {};
}

Result<void> set_registers(int vcpu) {
    kvm_sregs special{};
    if (::ioctl(vcpu, KVM_GET_SREGS, &special) < 0)
        return fail_errno(errno, "KVM_GET_SREGS");
    special.cs.base = 0;
    special.cs.selector = 0;
    if (::ioctl(vcpu, KVM_SET_SREGS, &special) < 0)
        return fail_errno(errno, "KVM_SET_SREGS");
    kvm_regs registers{};
    registers.rip = code_address;
    registers.rflags = 2;
    if (::ioctl(vcpu, KVM_SET_REGS, &registers) < 0)
        return fail_errno(errno, "KVM_SET_REGS");
    return {};
}

Result<void> run_until_halt(int kvm, int vcpu) {
    const int size = ::ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (size < static_cast<int>(sizeof(kvm_run)))
        return fail_errno(errno, "KVM_GET_VCPU_MMAP_SIZE");
    GC_TRY(const Mapping shared, Mapping::map(vcpu, static_cast<std::size_t>(size),
                                              PROT_READ | PROT_WRITE, MAP_SHARED, 0, "vCPU"));
    const auto* run = reinterpret_cast<const kvm_run*>(shared.data());
    while (::ioctl(vcpu, KVM_RUN, 0) < 0)
        if (errno != EINTR)
            return fail_errno(errno, "KVM_RUN");
    if (run->exit_reason != KVM_EXIT_HLT)
        return fail(ErrorKind::io, "KVM_RUN ended for reason {}, expected a halt",
                    run->exit_reason);
    return {};
}

Result<void> run_here(int kvm) {
    const UniqueFd machine(::ioctl(kvm, KVM_CREATE_VM, 0));
    if (!machine)
        return fail_errno(errno, "KVM_CREATE_VM");
    // Intel's without unrestricted guests need it; the others have no use for it.
    (void)::ioctl(machine.get(), KVM_SET_TSS_ADDR, 0xfffbd000);
    GC_TRY(const Mapping memory, Mapping::map(-1, memory_size, PROT_READ | PROT_WRITE,
                                              MAP_SHARED | MAP_ANONYMOUS, 0, "guest memory"));
    std::memcpy(memory.data() + code_address, gc_guest_begin,
                static_cast<std::size_t>(gc_guest_end - gc_guest_begin));
    write_page_tables(memory.data());
    kvm_userspace_memory_region region{};
    region.memory_size = memory_size;
    region.userspace_addr = reinterpret_cast<std::uint64_t>(memory.data());
    if (::ioctl(machine.get(), KVM_SET_USER_MEMORY_REGION, &region) < 0)
        return fail_errno(errno, "KVM_SET_USER_MEMORY_REGION");
    const UniqueFd vcpu(::ioctl(machine.get(), KVM_CREATE_VCPU, 0));
    if (!vcpu)
        return fail_errno(errno, "KVM_CREATE_VCPU");
    GC_CHECK(set_cpuid(kvm, vcpu.get()));
    GC_CHECK(set_registers(vcpu.get()));
    return run_until_halt(kvm, vcpu.get());
}

}  // namespace

Result<void> run_kvm_guest(int kvm) {
    // A child, because nothing ends KVM_RUN of a guest that loops but a signal.
    const auto answer = in_child(
        [kvm] {
            const auto ran = run_here(kvm);
            return ran ? std::string("halted") : ran.error().message;
        },
        limit);
    if (!answer)
        return fail(ErrorKind::io,
                    "a guest that takes some milliseconds {}: its instructions are emulated",
                    answer.error().message);
    if (*answer != "halted")
        return fail(ErrorKind::io, "{}", *answer);
    return {};
}

}  // namespace gc::doctor
