// SPDX-License-Identifier: GPL-2.0-or-later
#include "preflight/cpu_features.h"

#include <array>
#include <charconv>
#include <cstdint>
#include <fmt/core.h>
#include <map>
#include <sstream>

namespace gc::preflight {
namespace {

/// The names of a register's bits, from bit 0 on, "-" for none: those of feature_word_info in
/// target/i386/cpu.c.
struct Register {
    std::string_view key;
    std::string_view names;
};

constexpr std::array<Register, 10> registers{{
    {"1.0.EDX",
     "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - ds "
     "acpi mmx fxsr sse sse2 ss ht tm ia64 pbe"},
    {"1.0.ECX",
     "pni pclmulqdq dtes64 monitor ds-cpl vmx smx est tm2 ssse3 cid - fma cx16 xtpr pdcm - pcid "
     "dca sse4.1 sse4.2 x2apic movbe popcnt tsc-deadline aes xsave osxsave avx f16c rdrand "
     "hypervisor"},
    {"7.0.EBX",
     "fsgsbase tsc-adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm - - mpx - avx512f "
     "avx512dq rdseed adx smap avx512ifma pcommit clflushopt clwb intel-pt avx512pf avx512er "
     "avx512cd sha-ni avx512bw avx512vl"},
    {"7.0.ECX",
     "- avx512vbmi umip pku ospke waitpkg avx512vbmi2 - gfni vaes vpclmulqdq avx512vnni "
     "avx512bitalg - avx512-vpopcntdq - la57 - - - - - rdpid - bus-lock-detect cldemote - movdiri "
     "movdir64b - sgxlc pks"},
    {"7.0.EDX",
     "- - avx512-4vnniw avx512-4fmaps fsrm - - - avx512-vp2intersect - md-clear - - - serialize - "
     "tsx-ldtrk - - arch-lbr - - amx-bf16 avx512-fp16 amx-tile amx-int8 spec-ctrl stibp flush-l1d "
     "arch-capabilities core-capability ssbd"},
    {"80000001.0.EDX",
     "- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr-opt pdpe1gb rdtscp - lm "
     "3dnowext 3dnow"},
    {"80000001.0.ECX",
     "lahf-lm cmp-legacy svm extapic cr8legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop "
     "skinit wdt - lwp fma4 tce - nodeid-msr - tbm topoext perfctr-core perfctr-nb - - - - - - -"},
    {"80000008.0.EBX",
     "clzero - xsaveerptr - - - - - - wbnoinvd - - ibpb - ibrs amd-stibp - stibp-always-on - - - - "
     "- - amd-ssbd virt-ssbd amd-no-ssb - amd-psfd - - -"},
    {"d.1.EAX", "xsaveopt xsavec xgetbv1 xsaves xfd"},
    {"40000001.0.EAX",
     "kvmclock kvm-nopiodelay kvm-mmu kvmclock2 kvm-asyncpf kvm-steal-time kvm-pv-eoi "
     "kvm-pv-unhalt - kvm-pv-tlb-flush kvm-asyncpf-vmexit kvm-pv-ipi kvm-poll-control "
     "kvm-pv-sched-yield kvm-asyncpf-int kvm-msi-ext-dest-id"},
}};

std::string name_of(const std::string& key, unsigned bit) {
    for (const Register& each : registers) {
        if (each.key != key)
            continue;
        std::istringstream names{std::string(each.names)};
        std::string name;
        for (unsigned i = 0; i <= bit && names >> name; ++i)
            if (i == bit && name != "-")
                return name;
    }
    return fmt::format("{}[{}]", key, bit);
}

std::map<std::string, std::uint64_t> parse(std::string_view text) {
    std::map<std::string, std::uint64_t> words;
    std::istringstream in{std::string(text)};
    for (std::string word; in >> word;) {
        const auto equals = word.find('=');
        std::uint64_t bits = 0;
        if (equals != std::string::npos &&
            std::from_chars(word.data() + equals + 1, word.data() + word.size(), bits, 16).ec ==
                std::errc())
            words[word.substr(0, equals)] = bits;
    }
    return words;
}

}  // namespace

std::string features_missing(std::string_view cpu, std::string_view other) {
    const auto ours = parse(cpu), theirs = parse(other);
    std::string names;
    for (const auto& [key, bits] : ours) {
        const auto found = theirs.find(key);
        const std::uint64_t lost = bits & ~(found == theirs.end() ? 0 : found->second);
        for (unsigned bit = 0; bit < 64; ++bit)
            if ((lost >> bit & 1) != 0)
                names += (names.empty() ? "" : " ") + name_of(key, bit);
    }
    return names;
}

}  // namespace gc::preflight
