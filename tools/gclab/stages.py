# SPDX-License-Identifier: GPL-2.0-or-later
"""The stages of scripts/check: commands that write JUnit XML."""

import os
from dataclasses import dataclass
from pathlib import Path

from .environment import BIN, BUILD, CMAKE_TREE, FETCHED_KERNELS, PYTHON, SCRIPTS, kernels, module_for

RESULTS = BUILD / "check"
# On the kernels after the first, one migration of each kind shows that the module works there, too.
FEW_MIGRATIONS = "(test_machine and q35) or test_two_ram_backends"
# Of module_test: those with VMs, for which the lab has fewer CPUs.
MODULE_VMS = ("AsyncPageFault", "Track", "ShadowPaging", "Fuzz", "VmStress")
# Of module_test: those that inject failures, for which only the debug kernel is configured.
MODULE_DEBUG = ("Failure",)


@dataclass(frozen=True)
class Stage:
    """`what` it tests, for the reader; `beside` others, since it keeps at most one CPU busy; whether it `waits` most of the
    time, and so can run beside all others; whether it is `usual`, a part of `make check`."""

    name: str
    what: str
    command: list[str]
    timeout: int  # seconds
    beside: bool = False
    waits: bool = False
    usual: bool = True
    counted: frozenset[str] | None = None  # the cases that count, of all in the results; None: all

    def results(self) -> list[Path]:
        """The JUnit files there are: NAME.xml, and NAME.PROGRAM.xml of stages that run several programs."""
        return sorted(RESULTS.glob(f"{self.name}.xml")) + sorted(RESULTS.glob(f"{self.name}.*.xml"))


def _results(name: str) -> Path:
    return RESULTS / f"{name}.xml"


def pytest(name: str, what: str, timeout: int, *arguments: str, waits: bool = False, usual: bool = True) -> Stage:
    return Stage(name, what, pytest_command(name, *arguments), timeout, waits=waits, usual=usual)


def pytest_command(name: str, *arguments: str) -> list[str]:
    return [PYTHON, "-m", "pytest", *arguments, "-q", "--tb=short", f"--junitxml={_results(name)}"]


def lab(name: str, kernel: str, timeout: int, *options: str, command: list[str]) -> list[str]:
    return [str(SCRIPTS / "lab"), "--kernel", kernel, *_lab_options(name, timeout), *options, "--", *command]


def debug_lab(name: str, timeout: int, *options: str, command: list[str]) -> list[str]:
    return [str(SCRIPTS / "debug-lab"), *_lab_options(name, timeout), *options, "--", *command]


def _lab_options(name: str, timeout: int) -> list[str]:
    return ["--timeout", str(timeout), "--log", str(RESULTS / f"{name}.console")]


def gtest(name: str, program: str, cases: str) -> list[str]:
    return [str(BIN / program), f"--gtest_filter={cases}", f"--gtest_output=xml:{_results(name)}"]


def module_test(name: str, module: Path, cases: str) -> list[str]:
    return ["tests/module/run.sh", str(module), *gtest(name, "module_test", cases)]


def tls_test(name: str, cases: str) -> list[str]:
    return ["tests/tls/run.sh", *gtest(name, "tls_test", cases)]


def sanitized(preset: str, what: str) -> Stage:
    return Stage(preset, what, [str(SCRIPTS / "sanitized"), preset, str(RESULTS)], 2400)


def kunit(name: str = "kunit", counted: frozenset[str] | None = None) -> Stage:
    return Stage(name, "KUnit suites of the module's engine, under User Mode Linux",
                 [str(SCRIPTS / "kunit"), f"--junit={_results(name)}"], 1800, counted=counted)


def stages() -> list[Stage]:
    """All of them; those that soonest show a failure come first."""
    found = [
        Stage("unit", "unit tests, without sanitizers",
              ["ctest", "--test-dir", str(CMAKE_TREE), "-j", str(os.cpu_count()), "--output-on-failure",
               "--no-tests=error", "--output-junit", str(_results("unit")), "--progress"], 900, usual=False),
        sanitized("asan", "unit and end-to-end tests under AddressSanitizer and UndefinedBehaviorSanitizer"),
        sanitized("tsan", "unit and end-to-end tests of the data plane under ThreadSanitizer"),
        Stage("fuzz", "the formats that gcctl reads, each fuzzed for a few seconds",
              [str(SCRIPTS / "fuzz"), f"--junit={_results('fuzz')}"], 1800),
        pytest("long", "end to end with QEMU's TCG: what the sanitizers leave out", 1500, "tests/e2e", "-m", "long"),
        pytest("tcg", "end to end with QEMU's TCG: all, without sanitizers", 1500, "tests/e2e", usual=False),
        pytest("faults", "a hundred migrations that break in as many ways, with QEMU's TCG", 1500, "tests/faults"),
        pytest("libvirt", "VMs of libvirt's, between two libvirtds with QEMU's TCG", 1800, "tests/libvirt", waits=True),
        pytest("scripts", "the tests' own tools, and the documents", 180, "tests/scripts"),
        pytest("html_report", "the HTML of gcctl report, in a browser", 480, "tests/html_report"),
        kunit(),
        pytest("dkms", "the DKMS package, built on this machine and loaded in the lab", 600, "tests/dkms"),
        pytest("hosts", "the lab with two hosts, and in clones that it hides", 900, "tests/hosts"),
    ]
    modules = {kernel: module_for(kernel) for kernel in kernels()}
    for kernel, module in modules.items():
        found += _module_stages(kernel, module)
    for number, kernel in enumerate(modules):
        found += _network_stages(kernel, first=number == 0)
    for number, (kernel, module) in enumerate(modules.items()):
        if number == 0:
            found += [*_lab_stages(kernel, module), _apparmor_stage(kernel, module), _selinux_stage(kernel, module)]
        else:
            found.append(_short_lab_stage(kernel, module))
    return found + debug_stages() + [stage for version in FETCHED_KERNELS for stage in fetched_kernel_stages(version)]


def _module_cases() -> tuple[str, str]:
    """Of the module's tests, those without VMs and those with VMs."""
    vms = ":".join(f"{suite}.*" for suite in MODULE_VMS)
    failures = ":".join(f"{suite}.*" for suite in MODULE_DEBUG)
    return f"-{vms}:{failures}", vms


def _lab_stages(kernel: str, module: Path) -> list[Stage]:
    """Two, so that two CPUs can share them."""
    apart = ("track", "silence")
    others = ["tests/e2e", *(f"--ignore=tests/e2e/test_{name}.py" for name in apart)]
    return [_lab_stage(f"lab-{kernel}", f"end to end with KVM and guides, in the lab on Linux {kernel}", kernel, module, *others),
            _lab_stage(f"lab-host-{kernel}", f"tracks and policies with KVM, in the lab on Linux {kernel}", kernel,
                       module, *(f"tests/e2e/test_{name}.py" for name in apart))]


def _selinux_stage(kernel: str, module: Path) -> Stage:
    return _lab_stage(f"selinux-{kernel}", f"guides of QEMUs that SELinux confines, in the lab on Linux {kernel}", kernel, module,
                      "tests/e2e/test_selinux.py", timeout=600, append="security=selinux selinux=1")


def _apparmor_stage(kernel: str, module: Path) -> Stage:
    return _lab_stage(f"apparmor-{kernel}", f"VMs of libvirt's with KVM, which AppArmor confines, in the lab on Linux {kernel}", kernel,
                      module, "tests/libvirt", timeout=900)


def _short_lab_stage(kernel: str, module: Path) -> Stage:
    return _lab_stage(f"lab-{kernel}", f"end to end with KVM and guides, in the lab on Linux {kernel}", kernel, module, "tests/e2e",
                      "-k", FEW_MIGRATIONS)


def _lab_stage(name: str, what: str, kernel: str, module: Path, *arguments: str, timeout: int = 2700, append: str = "") -> Stage:
    return Stage(name, what, lab(name, kernel, timeout, "--mem", "8G", "--module", str(module), "--append", append,
                                 command=pytest_command(name, *arguments, "-v")), timeout + 100, beside=True)


def _module_stages(kernel: str, module: Path) -> list[Stage]:
    without_vms, vms = _module_cases()
    alone, track = f"module-{kernel}", f"track-{kernel}"
    return [Stage(alone, f"the module, in the lab on Linux {kernel}",
                  lab(alone, kernel, 900, "--no-nested", command=module_test(alone, module, without_vms)), 1000,
                  beside=True),
            Stage(track, f"the module's tracks of VMs, in the lab on Linux {kernel}",
                  lab(track, kernel, 900, command=module_test(track, module, vms)), 1000, beside=True)]


def _network_stages(kernel: str, first: bool) -> list[Stage]:
    bpf, policy, tls = f"bpf-{kernel}", f"policy-{kernel}", f"tls-{kernel}"
    # All on the first kernel; on the others those that depend on the hook, which is another one there.
    chosen = [] if first else ["-k", "test_attach or test_order or filter or another_program"]
    return [Stage(bpf, f"the BPF programs, in the lab on Linux {kernel}",
                  lab(bpf, kernel, 300, "--no-nested", command=gtest(bpf, "bpf_test", "*")), 400, beside=True),
            Stage(tls, f"TLS, encrypted by the kernel, in the lab on Linux {kernel}",
                  lab(tls, kernel, 600, "--no-nested", command=tls_test(tls, "*Kernel*:TlsHandshake.*")), 700,
                  beside=True),
            Stage(policy, f"traffic policies on veths and taps, in the lab on Linux {kernel}",
                  lab(policy, kernel, 1500, "--no-nested", command=pytest_command(policy, "tests/policy", *chosen)), 1600,
                  beside=True)]


def debug_stages() -> list[Stage]:
    """On a kernel with checks that make it about ten times slower."""
    module = str(module_for("debug"))
    # That kernel has no huge pages of shmem.
    module_command = ["env", "GC_STRESS_SECONDS=60", *module_test("debug-module", Path(module), "-Node/HugePages.*")]
    migration_command = pytest_command("debug-migration", "tests/e2e", "-v", "-k", "test_two_ram_backends and guide-on")
    return [Stage("debug-kunit", "KUnit suites of the module's engine, on the debug kernel",
                  [str(SCRIPTS / "kunit"), "--debug", f"--junit={_results('debug-kunit')}"], 1500, usual=False),
            Stage("debug-module", "the module, its failures and stress, on the debug kernel",
                  debug_lab("debug-module", 1500, command=module_command), 3000, usual=False),
            Stage("debug-migration", "a migration with its guide on the debug kernel",
                  debug_lab("debug-migration", 1500, "--mem", "8G", "--module", module, command=migration_command), 3000,
                  usual=False)]


def fetched_kernel_stages(version: str) -> list[Stage]:
    """On a kernel that scripts/fetch-kernel fetches. scripts/kernel-lab builds the module for it."""
    module = module_for(f"fetched-{version}")
    without_vms, vms = _module_cases()
    alone, track, end_to_end, dkms = (f"kernel-{version}-{what}" for what in ("module", "track", "lab", "dkms"))

    def lab_of(name: str, timeout: int, *options: str, command: list[str]) -> list[str]:
        return [str(SCRIPTS / "kernel-lab"), version, *_lab_options(name, timeout), *options, "--", *command]

    return [Stage(alone, f"the module, in the lab on the fetched Linux {version}",
                  lab_of(alone, 900, "--no-nested", command=module_test(alone, module, without_vms)), 1400, usual=False),
            Stage(track, f"the module's tracks of VMs, in the lab on the fetched Linux {version}",
                  lab_of(track, 900, command=module_test(track, module, vms)), 1000, usual=False),
            Stage(end_to_end, f"end to end with KVM and guides, in the lab on the fetched Linux {version}",
                  lab_of(end_to_end, 2000, "--mem", "8G", "--module", str(module),
                         command=pytest_command(end_to_end, "tests/e2e", "-v", "-k", FEW_MIGRATIONS)), 2100,
                  usual=False),
            Stage(dkms, f"the DKMS package, built for the fetched Linux {version} and loaded there in the lab",
                  ["env", f"GC_FETCHED_KERNEL={version}", *pytest_command(dkms, "tests/dkms")], 900, usual=False)]
